"""How much the filters of each layer overlap, epoch by epoch."""

from __future__ import annotations

import statistics
from functools import partial
from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.dropping import phases
from regrow.report.figures.layer_panels import at_most, plot_layer_panels
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_overlap(
    results: Results, cell: str, *, layer: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw the mean overlap of each layer's filters over the epochs, one small panel a layer.

    Args:
        results: What was read.
        cell: The cell.
        layer: The layer to draw into `ax`; the first if None.
        ax: Axes for one panel; without, a figure of its own with a panel for each layer.

    Returns:
        The figure and the axes; of several panels the lower left one.

    Edge cases:
        More than 24 layers: 24 of them, at even distances. One seed: no band.
    """
    return plot_layer_panels(
        results,
        cell,
        layers=shown_layers(results, cell),
        series=partial(overlap_series, results, cell),
        ylabel="Mean overlap",
        nothing="No overlap was measured",
        layer=layer,
        ax=ax,
    )


def caption_overlap(results: Results, cell: str) -> str:
    """Say what `plot_overlap` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    measured = results.diagnostics.overlaps
    counts = ", ".join(
        f"{n} ({arm.label})"
        for arm in results.study.arms
        if (n := sum(t.trial in measured for t in results.arm(cell, arm.label).values()))
    )
    text = (
        "Inter-filter overlap (sum of |cosine| with the layer's other filters over their number; no unit), averaged "
        "over the filters in the network after every epoch; panels have scales of their own, the number of filters "
        f"stands in brackets. Line: mean, band: one standard deviation over n = {counts} seeds."
    )
    if phases(results, cell):
        text += (
            " Grey: filters are out of the network; a layer is then what is left of it, without them as filters and as "
            "inputs."
        )
    every, drawn = _layers(results, cell), shown_layers(results, cell)
    if len(drawn) < len(every):
        text += f" {len(drawn)} of {wording.count(len(every), 'layer')} are drawn."
    return text


def shown_layers(results: Results, cell: str) -> dict[str, int]:
    """The layers whose overlap is drawn.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        Number of filters by layer, in the network's order; at most 24.
    """
    return at_most(_layers(results, cell))


def overlap_series(
    results: Results, cell: str, arm: str, layer: str
) -> dict[int, tuple[float, float | None, int]]:
    """The overlap of one layer of an arm over the seeds.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.
        layer: The layer.

    Returns:
        Epoch to mean, standard deviation (None for a single seed) and number of seeds.
    """
    measured = results.diagnostics.overlaps
    curves = [
        measured.get(trial.trial, {}).get(layer, {}) for trial in results.arm(cell, arm).values()
    ]
    found: dict[int, tuple[float, float | None, int]] = {}
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        values = [curve[epoch] for curve in curves if epoch in curve]
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[epoch] = (statistics.fmean(values), spread, len(values))
    return found


def _layers(results: Results, cell: str) -> dict[str, int]:
    held = results.diagnostics
    found: dict[str, int] = {}
    for trial in results.trials:
        if trial.cell == cell and trial.trial in held.overlaps:
            for layer, filters in held.layers.get(trial.trial, {}).items():
                found.setdefault(layer, filters)
    return found
