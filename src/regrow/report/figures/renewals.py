"""When filters were renewed, and in which layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.axes import legend_above, nothing_yet, whole_numbers
from regrow.report.figures.renewing import (
    by_layer,
    even,
    hidden_epochs,
    renewing_arms,
    shown_epochs,
)
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import NARROW, canvas, house_style
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "")


def plot_renewals(
    results: Results, cell: str, *, arm: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw how many filters an arm renewed in each epoch, by layer, over all seeds.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label; the first that renewed any filter if None.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.

    Edge cases:
        More than five layers: the five with the most renewals, and the others together.
    """
    from matplotlib.patches import Patch

    with house_style():
        figure, ax = canvas(ax, size=NARROW)
        label = arm or next(iter(renewing_arms(results, cell)), None)
        counts = by_layer(results, cell, label) if label else {}
        last = last_epoch(results, cell)
        base = [0.0] * last
        handles: list[object] = []
        for (_layer, epochs), colour, hatch in zip(
            counts.items(), _shades(len(counts)), _HATCHES, strict=False
        ):
            top = [b + epochs.get(epoch, 0) for epoch, b in enumerate(base, start=1)]
            look = {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "linewidth": 0.3}
            edges = [0.5 + epoch for epoch in range(last + 1)]
            ax.fill_between(edges, [*base, base[-1]], [*top, top[-1]], step="post", **look)  # pyright: ignore[reportArgumentType] # a plain dict of artist properties
            handles.append(Patch(**look))  # pyright: ignore[reportArgumentType] # the same
            base = top
        ax.set_xlim(0.5, shown_epochs(results, cell, label) + 0.5)
        ax.set_ylim(0, 1.05 * max(base, default=0.0) or 1.0)
        whole_numbers(ax.xaxis)
        whole_numbers(ax.yaxis)
        ax.set_xlabel("Epoch")
        ax.set_ylabel("Filters renewed per epoch,\nall seeds together")
        if handles:
            legend_above(ax, handles=handles, labels=list(counts))
        else:
            nothing_yet(ax, "No filter was renewed")
    return figure, ax


def caption_renewals(results: Results, cell: str, arm: str) -> str:
    """Say what `plot_renewals` shows.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.

    Returns:
        The caption, with n.
    """
    trials = results.arm(cell, arm)
    renewed = sum(n for epochs in by_layer(results, cell, arm).values() for n in epochs.values())
    text = (
        f"When and where {arm} renewed filters: number per epoch by layer, summed over "
        f"n = {wording.count(len(trials), 'seed')}; {renewed} in all."
    )
    replaying = [label for label, tested in results.study.controls.items() if tested == arm]
    if replaying:
        text += f" The control {', '.join(replaying)} repeats the same numbers."
    return text + hidden_epochs(results, cell, arm)


def _shades(number: int) -> list[tuple[float, float, float, float]]:
    """Dark to light, so that layers stay apart in grey."""
    import matplotlib as mpl

    colours = mpl.colormaps["cividis"]
    return [colours(x) for x in even(0.9, 0.1, number)][::-1]
