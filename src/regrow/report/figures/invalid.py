"""How many filters have next to no weights, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrow.report.figures.axes import nothing_yet, shown, whole_numbers
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import WIDE, arm_styles, house_style, panels
from regrow.report.weight_series import counted, invalid_series
from regrow.study.results import Results
from regrow.study.views import THRESHOLDS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_invalid(results: Results, cell: str) -> tuple[Figure, Axes]:
    """Draw the share of invalid filters over the epochs, one small panel a threshold, one line an arm.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The figure and the axes of the first threshold.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Figure 5.
        https://arxiv.org/abs/2001.05868
    """
    with house_style():
        figure, grid = panels(len(THRESHOLDS), columns=len(THRESHOLDS), size=(WIDE[0], 2.5))
        handles: list[Artist] = []
        for place, (ax, threshold) in enumerate(zip(grid, THRESHOLDS, strict=True)):
            drawn = _panel(ax, results, cell, place)
            handles = drawn if len(drawn) > len(handles) else handles
            ax.set_title(f"l1 < {threshold}", loc="left", fontsize=8)
            ax.set_xlabel("Epoch")
        grid[0].set_ylabel("Invalid filters (%)")
        if handles:
            figure.legend(handles=handles, loc="outside upper left", ncols=6)
        else:
            nothing_yet(grid[0], "No weights were looked at")
        return figure, grid[0]


def caption_invalid(results: Results, cell: str) -> str:
    """Say what `plot_invalid` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    return (
        "Share of the filters whose l1 norm is below a threshold after every epoch, over all convolutions that do not "
        "make the output, mean over a trial's networks; panels have scales of their own. Line: mean, band: one "
        f"standard deviation over n = {counted(results, cell, results.networks.carried)} seeds."
    )


def _panel(ax: Axes, results: Results, cell: str, place: int) -> list[Artist]:
    handles: list[Artist] = []
    highest = 0.0
    for label, style in arm_styles(results).items():
        series = invalid_series(results, cell, label, place)
        if not series:
            continue
        epochs = list(series)
        means = [100 * mean for mean, _, _ in series.values()]
        spreads = [100 * (spread or 0.0) for _, spread, _ in series.values()]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        low = [max(mean - spread, 0.0) for mean, spread in zip(means, spreads, strict=True)]
        ax.fill_between(epochs, low, high, color=style.colour, alpha=0.16, lw=0, zorder=2)
        step = max(1, len(epochs) // 4)
        (line,) = ax.plot(
            epochs, means, color=style.colour, ls=style.line, lw=1.3, marker=style.marker, ms=3,
            markevery=step, zorder=3, label=shown(label), clip_on=False,
        )  # fmt: skip
        handles.append(line)
        highest = max(highest, *high)
    ax.set_xlim(0, last_epoch(results, cell) + 0.5)
    # Where no filter is invalid the line lies on the axis, and not in the middle of a scale of nothing.
    ax.set_ylim(0, max(1.08 * highest, 1.0))
    whole_numbers(ax.xaxis)
    ax.locator_params(axis="y", nbins=5)
    return handles
