"""The differences from the baseline in every cell of a grid, with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.axes import legend_above, nothing_yet, shown
from regrow.report.figures.style import INK, WIDE, arm_styles, canvas, house_style
from regrow.report.summary import summarise
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW = 0.17  # inches for one arm of one cell


def plot_gains(results: Results, *, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Draw the mean paired difference of every arm from the baseline, one group of rows a cell.

    Args:
        results: What was read.
        ax: Axes to draw into; a figure of its own without, as high as the cells need.

    Returns:
        The figure and the axes.

    Edge cases:
        A difference without an interval, from a single pair, is a mark alone.
    """
    found = summarise(results)
    arms = [arm.label for arm in results.study.arms if arm.label != results.study.baseline]
    step = len(arms) + 0.8
    with house_style():
        height = 1.1 + _ROW * step * max(len(found.cells), 1)
        figure, ax = canvas(ax, size=(WIDE[0], height))
        styles = arm_styles(results)
        handles: list[object] = []
        for index, arm in enumerate(arms):
            numbers = [cell.comparison(arm, cell.baseline) for cell in found.cells]
            rows = [
                (step * place + index, comparison.numbers)
                for place, comparison in enumerate(numbers)
                if comparison is not None and comparison.numbers.mean_difference is not None
            ]
            style = styles[arm]
            for y, pair in rows:
                if pair.low is not None and pair.high is not None:
                    ax.hlines(y, 100 * pair.low, 100 * pair.high, color=style.colour, lw=1.6)
            (drawn,) = ax.plot(
                [100 * (pair.mean_difference or 0.0) for _, pair in rows], [y for y, _ in rows],
                ls="none", marker=style.marker, ms=5, mfc=style.colour, mec="white", mew=0.5,
            )  # fmt: skip
            handles.append(drawn)
        middle = (len(arms) - 1) / 2
        ax.set_yticks(
            [step * place + middle for place in range(len(found.cells))],
            [shown(cell.cell).strip() for cell in found.cells],
        )
        ax.set_ylim(step * max(len(found.cells), 1) - 0.9, -0.9)
        ax.axvline(0.0, color=INK, lw=0.8)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        baseline = shown(results.study.baseline).strip()
        ax.set_xlabel(f"Difference of test accuracy from {baseline} (percentage points)")
        ax.set_ylabel("Cell of the grid")
        if found.cells and arms:
            legend_above(ax, handles=handles, labels=arms)
        else:
            nothing_yet(ax, "Nothing to compare yet")
    return figure, ax


def caption_gains(results: Results) -> str:
    """Say what `plot_gains` shows.

    Args:
        results: What was read.

    Returns:
        The caption, with n.
    """
    pairs = [
        comparison.numbers.n
        for cell in summarise(results).cells
        for comparison in cell.comparisons
        if comparison.role == "baseline"
    ]
    least, most = min(pairs, default=0), max(pairs, default=0)
    n = wording.count(most, "pair") if least == most else f"{least} to {most} pairs"
    return (
        f"Mean paired difference of test accuracy from {results.study.baseline} in every cell, with "
        f"its 95 % bootstrap interval; n = {n} each. Right of 0: better than the baseline."
    )
