"""What stands around the data: labels as they are, legends above, whole numbers on axes of counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from regrow.report.figures.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def shown(label: str) -> str:
    """Write a label so that matplotlib draws it as it is: no mathematics, not hidden.

    Args:
        label: An arm's or layer's name.

    Returns:
        The same name for matplotlib.
    """
    escaped = " ".join(label.split()).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def shortened(path: str, letters: int) -> str:
    """Cut a module path at its front, where the paths of a network are alike.

    Args:
        path: Module path.
        letters: Room.

    Returns:
        The path, or its end behind an ellipsis.

    Examples:
        >>> shortened("conv1", 8), shortened("features.conv1", 8)
        ('conv1', '…s.conv1')
    """
    return path if len(path) <= letters else f"\N{HORIZONTAL ELLIPSIS}{path[1 - letters :]}"


def legend_above(
    ax: Axes, *, handles: Sequence[object], labels: Sequence[str], title: str | None = None
) -> None:
    """Set the legend above the axes, where it hides no data, in as few rows as fit.

    Args:
        ax: The axes.
        handles: What is explained.
        labels: Its names.
        title: What all the names have in common.
    """
    figure = cast("Figure", ax.figure)
    # The layout will widen the axes a little over their first position.
    width = 72 * figure.get_figwidth() * min(1.1 * ax.get_position().width, 0.9)
    ax.legend(
        list(handles),  # pyright: ignore[reportArgumentType] # proxies of several classes
        [shown(label) for label in labels],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.02),
        ncols=columns_that_fit([len(label) for label in labels], width=width),
        columnspacing=1.4,
        handletextpad=0.6,
        title=title,
        title_fontsize=8,
        alignment="left",
    )


def columns_that_fit(lengths: Sequence[int], *, width: float) -> int:
    """The most columns in which a legend's entries fit side by side.

    Args:
        lengths: Letters of each entry, in order; a legend is filled column by column.
        width: Room in points.

    Returns:
        Columns, at least one.

    Examples:
        >>> columns_that_fit([4, 9, 6, 22], width=250.0)
        2
    """
    for columns in range(len(lengths), 1, -1):
        rows, more = divmod(len(lengths), columns)  # the first columns have one row more
        starts = [rows * column + min(column, more) for column in range(columns + 1)]
        longest = [max(lengths[start:stop]) for start, stop in pairwise(starts)]
        # At 8 points a letter is about 4.5 points wide, and a handle with its gaps 36.
        if sum(4.5 * letters + 36 for letters in longest) <= width:
            return columns
    return 1


def whole_numbers(axis: Axis) -> None:
    """Let an axis of counts have no tick between two whole numbers.

    Args:
        axis: The x or y axis.
    """
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10]))


def same_scale(grid: Sequence[Axes], *, low: float, high: float) -> None:
    """Give panels one scale, so that they can be compared by eye.

    Args:
        grid: The panels.
        low: What the scale never goes below.
        high: What it never goes above.
    """
    ends = [ax.get_ylim() for ax in grid]
    for ax in grid:
        ax.set_ylim(max(min(end[0] for end in ends), low), min(max(end[1] for end in ends), high))


def nothing_yet(ax: Axes, what: str) -> None:
    """Say in an empty figure why it is empty.

    Args:
        ax: The axes.
        what: What is missing.
    """
    ax.text(0.5, 0.5, what, transform=ax.transAxes, ha="center", va="center", color=INK)
