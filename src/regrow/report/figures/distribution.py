"""How the accuracies of each arm are spread over the seeds."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from regrow.report.figures.axes import legend_above, nothing_yet, shown
from regrow.report.figures.scale import accuracy_axis, quartiles
from regrow.report.figures.style import INK, QUIET, arm_styles, arms_size, canvas, house_style
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEVELS = 36  # rows of marks that fit one above the other
_WIDTH = 0.68  # of the marks of one arm; the distance between two arms is 1
_BOX = -0.42  # where the quartiles stand


def plot_distribution(
    results: Results, cell: str, *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw each arm's accuracies over the seeds: every seed a mark, and a box.

    Args:
        results: What was read.
        cell: The cell.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.

    Source:
        Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
        ICLR 2016 workshop, Figure 1. https://arxiv.org/abs/1602.05931
    """
    with house_style():
        figure, ax = canvas(ax, size=arms_size(results))
        handles, labels = accuracy_axis(ax, results, cell)
        styles = arm_styles(results)
        low, high = ax.get_ylim()
        arms = results.study.arms
        for index, arm in enumerate(arms):
            values = accuracies(results, cell, arm.label)
            if not values:
                continue
            style = styles[arm.label]
            # Beside the marks, not around them: seeds fall into two groups, those that learnt and
            # those that failed, and a box across the gap would be all that one sees.
            low_quarter, middle, high_quarter = quartiles(values)
            ax.vlines(index + _BOX, min(values), max(values), color=QUIET, lw=0.8, zorder=2)
            ax.vlines(index + _BOX, low_quarter, high_quarter, color=QUIET, lw=2.4, zorder=2)
            ax.plot(
                [index + _BOX],
                [middle],
                marker="o",
                ms=3.4,
                mfc="white",
                mec=INK,
                mew=0.8,
                zorder=4,
            )
            sideways = spread(values, height=(high - low) / _LEVELS)
            ax.plot(
                [index + 0.04 + x for x in sideways], values, ls="none", marker=style.marker, ms=3.6,
                mfc=style.colour, mec="white", mew=0.4, alpha=0.9, zorder=3, clip_on=False,
            )  # fmt: skip
        _label_arms(ax, results, cell)
        if any(trial.cell == cell for trial in results.trials):
            legend_above(ax, handles=[*handles], labels=labels)
        else:
            nothing_yet(ax, "No trial has ended yet")
    return figure, ax


def caption_distribution(results: Results, cell: str) -> str:
    """Say what `plot_distribution` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    counts = ", ".join(
        f"{len(accuracies(results, cell, arm.label))} ({arm.label})" for arm in results.study.arms
    )
    return (
        "Distribution of the test accuracy after the last epoch over seeds; "
        f"n = {counts}. One mark a seed; at their left the median (ring), the quartiles (thick) and "
        "the worst and best (thin)."
    )


def accuracies(results: Results, cell: str, label: str) -> list[float]:
    """The accuracies of an arm that were measured, in percent, in the order of the seeds.

    Args:
        results: What was read.
        cell: The cell.
        label: The arm's label.

    Returns:
        0 to 100 each.
    """
    return [
        100 * trial.test_accuracy
        for trial in results.arm(cell, label).values()
        if trial.test_accuracy is not None
    ]


def spread(values: list[float], *, height: float) -> list[float]:
    """Move marks of nearly equal height sideways, symmetrically, so that none hides another.

    Args:
        values: Heights.
        height: Marks within one such step share a row.

    Returns:
        Sideways shifts, within plus and minus 0.34, the same every time.

    Examples:
        >>> spread([1.0, 5.0, 1.01, 0.99], height=0.5)
        [0.0, 0.0, 0.08, -0.08]
    """
    rows: dict[int, list[int]] = {}
    for index in sorted(range(len(values)), key=lambda index: (values[index], index)):
        rows.setdefault(round(values[index] / height), []).append(index)
    found = [0.0] * len(values)
    for row in rows.values():
        step = min(0.08, _WIDTH / len(row))
        for place, index in enumerate(row):
            found[index] = round(step * (place - (len(row) - 1) / 2), 6)
    return found


def _wrapped(label: str, *, lines: int) -> str:
    width = 12 if lines > 1 else 18
    return "\n".join(textwrap.wrap(label, width, max_lines=lines, placeholder="…"))


def _label_arms(ax: Axes, results: Results, cell: str) -> None:
    arms = results.study.arms
    crowded = len(arms) > 4
    names = [
        _wrapped(shown(arm.label).strip(), lines=1 if crowded else 2)
        + ("" if crowded else "\n")
        + f" (n={len(accuracies(results, cell, arm.label))})"
        for arm in arms
    ]
    ax.set_xticks(
        range(len(arms)), names, rotation=35 if crowded else 0, ha="right" if crowded else "center",
        rotation_mode="anchor" if crowded else "default",
    )  # fmt: skip
    ax.set_xlim(-0.6, len(arms) - 0.4)
    ax.grid(visible=False, axis="x")
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("Arm (n = seeds with an accuracy)")
