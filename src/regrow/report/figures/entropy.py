"""What the weights of each layer carry, epoch by epoch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.layer_panels import at_most, plot_layer_panels
from regrow.report.weight_series import counted, entropy_series, seen_layers
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_entropy(
    results: Results, cell: str, *, layer: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw the entropy of each layer's weights over the epochs, one small panel a layer.

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
        layers=at_most(seen_layers(results, cell)),
        series=partial(entropy_series, results, cell),
        ylabel="Entropy (nats)",
        nothing="No weights were looked at",
        layer=layer,
        ax=ax,
    )


def caption_entropy(results: Results, cell: str) -> str:
    """Say what `plot_entropy` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    text = (
        "Entropy of each layer's weights after every epoch (10 bins between the smallest and the largest weight, "
        "natural logarithm), mean over a trial's networks; panels have scales of their own, the number of filters "
        f"stands in brackets. Line: mean, band: one standard deviation over n = "
        f"{counted(results, cell, results.networks.entropies)} seeds."
    )
    every = seen_layers(results, cell)
    drawn = at_most(every)
    if len(drawn) < len(every):
        text += f" {len(drawn)} of {wording.count(len(every), 'layer')} are drawn."
    return text
