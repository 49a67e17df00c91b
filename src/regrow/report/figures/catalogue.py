"""Which figures a report has, in their order, each with its caption and its words for the blind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from regrow.report.figures.curves import caption_curves, plot_curves
from regrow.report.figures.distribution import caption_distribution, plot_distribution
from regrow.report.figures.drawing import Drawing
from regrow.report.figures.dropping import dropping_arms
from regrow.report.figures.filter_map import caption_filter_map, plot_filter_map
from regrow.report.figures.gains import caption_gains, plot_gains
from regrow.report.figures.network_drawings import network_drawings
from regrow.report.figures.overlap import caption_overlap, plot_overlap, shown_layers
from regrow.report.figures.renewals import caption_renewals, plot_renewals
from regrow.report.figures.renewals_by_seed import (
    caption_renewals_by_seed,
    plot_renewals_by_seed,
)
from regrow.report.figures.renewing import renewing_arms
from regrow.report.figures.sorted_seeds import caption_sorted_seeds, plot_sorted_seeds
from regrow.report.figures.style import many_arms
from regrow.report.figures.sweep_drawings import sweep_drawings
from regrow.report.sweep.panel import Panel
from regrow.report.sweep.panels import panels as sweep_panels
from regrow.study.results import Results
from regrow.study.sweep import find_sweep

MANY_CELLS: Final = 8
"""Studies with more cells draw the sorted seeds alone for each: a page must open, too."""


def drawings(results: Results, panels: Sequence[Panel] | None = None) -> tuple[Drawing, ...]:
    """All figures of a report.

    Args:
        results: What was read.
        panels: What a sweep found; None: computed here.

    Returns:
        The figures of a sweep's panels, of the study, then those of each cell, which a large sweep has not. Without a
        trial: none.
    """
    if not results.trials:
        return ()
    found = sweep_drawings(results, sweep_panels(results) if panels is None else panels)
    sweep = find_sweep(results.study)
    if sweep is not None and sweep.large:
        return _named_apart(found)
    if len(results.cells) > 1:
        found.append(
            Drawing(
                name="gains",
                cell=None,
                title="Difference from the baseline in every cell",
                caption=caption_gains(results),
                alt="Chart of mean differences with intervals, one group of rows a cell.",
                wide=True,
                draw=partial(plot_gains, results),
            )
        )
    for cell in results.cells:
        found += _cell_drawings(results, cell)
    return _named_apart(found)


def _cell_drawings(results: Results, cell: str) -> list[Drawing]:
    found = [
        Drawing(
            name=f"{cell}-sorted",
            cell=cell,
            title="Accuracy of each seed, sorted",
            caption=caption_sorted_seeds(results, cell),
            alt="Scatter plot of test accuracy by seed, one mark an arm.",
            wide=True,
            draw=partial(plot_sorted_seeds, results, cell),
        )
    ]
    if len(results.cells) > MANY_CELLS:
        return found
    found += [
        Drawing(
            name=f"{cell}-distribution",
            cell=cell,
            title="Distribution over seeds",
            caption=caption_distribution(results, cell),
            alt="Strip plot of test accuracy with quartiles, one column an arm.",
            wide=many_arms(results),
            draw=partial(plot_distribution, results, cell),
        ),
        Drawing(
            name=f"{cell}-curves",
            cell=cell,
            title="Learning curves",
            caption=caption_curves(results, cell),
            alt="Line chart of median test accuracy by epoch, one line an arm.",
            wide=many_arms(results),
            draw=partial(plot_curves, results, cell),
        ),
    ]
    for place, arm in enumerate(renewing_arms(results, cell)):
        found += [
            Drawing(
                name=f"{cell}-renewals-{arm}",
                cell=cell,
                title=f"Renewals of {arm} by layer",
                caption=caption_renewals(results, cell, arm),
                alt="Stacked histogram of renewed filters by epoch and layer.",
                wide=False,
                more=place > 1,
                draw=partial(plot_renewals, results, cell, arm=arm),
            ),
            Drawing(
                name=f"{cell}-renewals-by-seed-{arm}",
                cell=cell,
                title=f"Renewals of {arm} by seed",
                caption=caption_renewals_by_seed(results, cell, arm),
                alt="Map of renewed filters, one row a seed, one column an epoch.",
                wide=False,
                more=place > 1,
                draw=partial(plot_renewals_by_seed, results, cell, arm=arm),
            ),
        ]
    return [*found, *_diagnostic_drawings(results, cell)]


def _diagnostic_drawings(results: Results, cell: str) -> list[Drawing]:
    """What the trials looked at beside their accuracy, where they did."""
    found: list[Drawing] = []
    if shown_layers(results, cell):
        found.append(
            Drawing(
                name=f"{cell}-overlap",
                cell=cell,
                title="Overlap of the filters, layer by layer",
                caption=caption_overlap(results, cell),
                alt="Small line charts of mean overlap by epoch, one panel a layer, one line an arm.",
                wide=True,
                draw=partial(plot_overlap, results, cell),
            )
        )
    found += [
        Drawing(
            name=f"{cell}-filters-{arm}",
            cell=cell,
            title=f"Filters of {arm} in and out of the network",
            caption=caption_filter_map(results, cell, arm),
            alt="Map of filters over epochs, one row a filter, dark while it is out of the network.",
            wide=False,
            more=place > 1,
            draw=partial(plot_filter_map, results, cell, arm=arm),
        )
        for place, arm in enumerate(dropping_arms(results, cell))
    ]
    return [*found, *network_drawings(results, cell)]


def file_name(text: str) -> str:
    """A text as part of a file's name on every file system.

    Args:
        text: A cell or a figure.

    Returns:
        Letters, digits and ``.=,+_-``, at most 120 of them.

    Examples:
        >>> file_name("data.name=npz:a/b.npz")
        'data.name=npz_a_b.npz'
    """
    return re.sub(r"[^A-Za-z0-9.=,+_-]+", "_", text).strip("._")[:120] or "figure"


def _named_apart(found: list[Drawing]) -> tuple[Drawing, ...]:
    """Make the names fit for every file system, and number those that then are equal."""
    taken: set[str] = set()
    named: list[Drawing] = []
    for drawing in found:
        plain = file_name(drawing.name)
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        named.append(replace(drawing, name=name))
    return tuple(named)
