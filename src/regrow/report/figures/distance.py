"""How far networks that graft are apart, graft by graft."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from regrow.report.figures.axes import legend_above, nothing_yet, whole_numbers
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import arm_styles, arms_size, canvas, house_style
from regrow.report.weight_series import counted, distance_series
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_distance(results: Results, cell: str, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the distance between partners right before each graft, one line an arm.

    Args:
        results: What was read.
        cell: The cell.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.
    """
    with house_style():
        figure, ax = canvas(ax, size=arms_size(results))
        handles: list[object] = []
        labels: list[str] = []
        for label, style in arm_styles(results).items():
            series = distance_series(results, cell, label)
            if not series:
                continue
            times = list(series)
            low, high = ([pick(values) for values in series.values()] for pick in (min, max))
            ax.fill_between(times, low, high, color=style.colour, alpha=0.14, lw=0, zorder=2)
            step = max(1, len(times) // 6)
            (drawn,) = ax.plot(
                times, [statistics.fmean(values) for values in series.values()],
                color=style.colour, ls=style.line, lw=1.6, marker=style.marker, ms=3.5,
                markevery=step, zorder=3,
            )  # fmt: skip
            handles.append(drawn)
            labels.append(label)
        ax.set_xlabel("Epoch")
        ax.set_ylabel("Distance between partners")
        whole_numbers(ax.xaxis)
        if handles:
            ax.set_xlim(0, last_epoch(results, cell, arms=labels) + 0.5)
            ax.set_ylim(bottom=0)
            legend_above(ax, handles=handles, labels=labels)
        else:
            nothing_yet(ax, "No network took anything from another")
    return figure, ax


def caption_distance(results: Results, cell: str) -> str:
    """Say what `plot_distance` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    return (
        "Distance between the weights of a network and its partner right before each graft, as a share of the mean of "
        "their lengths (no unit; about 1.41 for directions that have nothing in common), mean over the layers. Line: "
        f"mean, band: smallest to largest over networks and n = {counted(results, cell, results.networks.grafts)} "
        "seeds."
    )
