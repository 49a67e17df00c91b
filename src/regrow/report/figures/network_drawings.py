"""The figures of trials with several networks, and of what weights carry: only those with data."""

from __future__ import annotations

from functools import partial

from regrow.report.figures.alpha import caption_alpha, plot_alpha
from regrow.report.figures.distance import caption_distance, plot_distance
from regrow.report.figures.drawing import Drawing
from regrow.report.figures.entropy import caption_entropy, plot_entropy
from regrow.report.figures.invalid import caption_invalid, plot_invalid
from regrow.report.figures.networks import caption_networks, joined_arms, plot_networks
from regrow.report.figures.style import many_arms
from regrow.report.weight_series import grafting_arms, seen_layers
from regrow.study.results import Results


def network_drawings(results: Results, cell: str) -> list[Drawing]:
    """All of them for one cell.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The figures that have something to show.
    """
    found: list[Drawing] = []
    if joined_arms(results, cell):
        found.append(
            Drawing(
                name=f"{cell}-networks",
                cell=cell,
                title="Each network beside the mean",
                caption=caption_networks(results, cell),
                alt="Line charts of test accuracy by epoch, one panel an arm, one line a network.",
                wide=True,
                draw=partial(plot_networks, results, cell),
            )
        )
    if grafting_arms(results, cell):
        found.append(
            Drawing(
                name=f"{cell}-alpha",
                cell=cell,
                title="Shares that the networks kept",
                caption=caption_alpha(results, cell),
                alt="Line charts of alpha by epoch, one panel an arm, one line a layer.",
                wide=True,
                draw=partial(plot_alpha, results, cell),
            )
        )
        found.append(
            Drawing(
                name=f"{cell}-distance",
                cell=cell,
                title="Distance between partners",
                caption=caption_distance(results, cell),
                alt="Line chart of the distance between partners by epoch, one line an arm.",
                wide=many_arms(results),
                draw=partial(plot_distance, results, cell),
            )
        )
    return [*found, *_weight_drawings(results, cell)]


def _weight_drawings(results: Results, cell: str) -> list[Drawing]:
    if not seen_layers(results, cell):
        return []
    return [
        Drawing(
            name=f"{cell}-invalid",
            cell=cell,
            title="Invalid filters",
            caption=caption_invalid(results, cell),
            alt="Line charts of the share of filters with small weights by epoch, one panel a threshold, "
            "one line an arm.",
            wide=True,
            draw=partial(plot_invalid, results, cell),
        ),
        Drawing(
            name=f"{cell}-entropy",
            cell=cell,
            title="Entropy of the weights, layer by layer",
            caption=caption_entropy(results, cell),
            alt="Small line charts of entropy by epoch, one panel a layer, one line an arm.",
            wide=True,
            draw=partial(plot_entropy, results, cell),
        ),
    ]
