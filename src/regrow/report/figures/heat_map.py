"""A panel of a sweep as two heat maps: the mean gain in every cell, and the seeds that failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan
from typing import TYPE_CHECKING, Any, Final

from regrow.report import wording
from regrow.report.figures.axes import shown
from regrow.report.figures.style import FAINT, INK, QUIET, WIDE, house_style, panels
from regrow.report.sweep.panel import Panel, SweepCell
from regrow.report.sweep.tables import pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_BESIDE: Final = 6
"""Up to so many columns two maps stand side by side; wider ones stand above each other."""

_HARM, _GAIN, _FAIL = "#d55e00", "#0072b2", "#4d4d4d"

_LEAST: Final = 0.005
"""Half a point: the scale never shrinks below it, so that nothing looks like much."""


def plot_heat_map(panel: Panel) -> tuple[Figure, Axes]:
    """Draw the mean paired gain of every cell, and how many seeds failed there.

    Blue is better than what the arm is compared with, orange worse, white no difference, on a scale that is the same on
    both sides. A bold, framed number has a 95 % interval that excludes 0.

    Args:
        panel: The panel.

    Returns:
        The figure and the axes of the gains.

    Edge cases:
        Cells without a pair are blank and crossed out. A few cells far from the others do not set the scale: they have
        its last colour, and the colour bar ends in a point.

    Source:
        Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
        ICLR 2016 workshop, Figure 3. https://arxiv.org/abs/1602.05931
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    columns, rows = len(panel.x.values), len(panel.y.values)
    beside = columns <= _BESIDE
    height = 1.05 + 0.29 * rows
    with house_style():
        figure, (gains, lost) = panels(
            2, columns=2 if beside else 1, size=(WIDE[0], height if beside else 2 * height)
        )
        limit, beyond = _limit([cell.gain for cell in panel.measured])
        _map(
            gains,
            panel,
            values=[None if cell.gain is None else 100 * cell.gain for cell in panel.cells],
            written=lambda cell: wording.points(cell.gain),
            marked=_decided,
            colours=LinearSegmentedColormap.from_list("gain", [_HARM, "#ffffff", _GAIN]),
            norm=Normalize(-100 * limit, 100 * limit),
            extend="both" if beyond else "neither",
        )
        # Side by side there is no room for a title in one line.
        before = "\n(" if beside else " ("
        title = f"Mean gain of {panel.arm} over {panel.versus} (points)"
        gains.set_title(shown(title).replace(" (", before), loc="left", pad=7)
        _map(
            lost,
            panel,
            values=[
                100 * cell.failed / cell.numbers.both if cell.numbers.both else None
                for cell in panel.cells
            ],
            written=lambda cell: str(cell.failed),
            marked=lambda _: False,
            colours=LinearSegmentedColormap.from_list("failed", ["#ffffff", _FAIL]),
            norm=Normalize(0, max(_shares(panel), default=100.0) or 100.0),
            extend="neither",
        )
        lost.set_title(shown(_failed_title(panel)).replace(" (", before), loc="left", pad=7)
    return figure, gains


def caption_heat_map(panel: Panel) -> str:
    """Say what `plot_heat_map` shows.

    Args:
        panel: The panel.

    Returns:
        The caption, with n.
    """
    blank = len(panel.cells) - len(panel.measured)
    crossed = f" Crossed out: {wording.count(blank, 'cell')} without a pair." if blank else ""
    _, beyond = _limit([cell.gain for cell in panel.measured])
    ends = " Colours end at the points of the bar, the numbers do not." if beyond else ""
    return (
        f"Mean paired difference of test accuracy, {panel.arm} minus {panel.versus}, in percentage points, and failed "
        f"seeds, in each of {len(panel.cells)} cells; n = {pairs(panel.measured)} pairs each. Bold in a frame: the "
        f"95 % bootstrap interval excludes 0 (each cell by itself, not corrected for their number).{crossed}{ends}"
    )


def _limit(gains: Sequence[float | None]) -> tuple[float, bool]:
    """Where the colours end, and whether any gain lies beyond.

    The largest gain, unless it is far above what 95 % of the cells have: a corner in which everything breaks would
    leave the rest without colour.
    """
    sizes = sorted(abs(gain) for gain in gains if gain is not None)
    if not sizes:
        return _LEAST, False
    most = max(sizes[int(0.95 * (len(sizes) - 1))], _LEAST)
    return (most, True) if sizes[-1] > 1.5 * most else (max(sizes[-1], _LEAST), False)


def _decided(cell: SweepCell) -> bool:
    return cell.comparison.outcome in {"gain", "harm"}


def _shares(panel: Panel) -> list[float]:
    """Failed seeds in percent, under both arms: the scale is that of the worse."""
    return [
        100 * failed / cell.numbers.both
        for cell in panel.cells
        if cell.numbers.both
        for failed in (cell.failed, cell.failed_without)
    ]


def _failed_title(panel: Panel) -> str:
    ended = [cell for cell in panel.cells if cell.numbers.both]
    if not ended:
        return f"Failed seeds under {panel.arm}"
    without = [cell.failed_without for cell in ended]
    seeds = [cell.numbers.both for cell in ended]
    return f"Failed seeds under {panel.arm}, of {_span(seeds)} (under {panel.versus}: {_span(without)})"


def _span(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"


def _map(
    ax: Axes,
    panel: Panel,
    *,
    values: Sequence[float | None],
    written: Callable[[SweepCell], str],
    marked: Callable[[SweepCell], bool],
    colours: Colormap,
    norm: Any,
    extend: str,
) -> None:
    """One map: colours, a number a cell, blank cells crossed out."""
    from matplotlib.cm import ScalarMappable

    columns = len(panel.x.values)
    size = 7.0 if columns <= 12 else max(3.0, 6.0 * 16 / max(columns, 16))
    for place, (cell, value) in enumerate(zip(panel.cells, values, strict=True)):
        x, y = place % columns, place // columns
        if value is None:
            across, upwards = [-0.5, 0.5, nan, -0.5, 0.5], [-0.5, 0.5, nan, 0.5, -0.5]
            ax.plot(
                [x + side for side in across], [y + side for side in upwards], color=FAINT, lw=0.7
            )
            continue
        colour = colours(norm(value))
        _box(ax, x, y, inset=0.0, facecolor=colour, edgecolor=FAINT, linewidth=0.5)
        if marked(cell):
            _box(ax, x, y, inset=0.06, facecolor="none", edgecolor=INK, linewidth=0.8)
        number = ax.text(
            x, y, written(cell), ha="center", va="center", fontsize=size,
            fontweight="bold" if marked(cell) else "normal", color=_readable(colour),
        )  # fmt: skip
        number.set_in_layout(False)  # it is inside, and there are hundreds
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(-0.5, len(panel.y.values) - 0.5)
    ax.set_xticks(range(columns), [str(value) for value in panel.x.values])
    ax.set_yticks(range(len(panel.y.values)), [str(value) for value in panel.y.values])
    ax.set_xlabel(shown(panel.x.setting).strip())
    ax.set_ylabel(shown(panel.y.setting).strip())
    ax.grid(visible=False)
    ax.tick_params(length=0)
    if max(len(str(value)) for value in panel.x.values) * columns > 90:
        ax.tick_params(axis="x", rotation=90)
    for side in ax.spines.values():
        side.set_visible(False)
    figure = ax.figure
    bar = figure.colorbar(
        ScalarMappable(norm=norm, cmap=colours),
        ax=ax,
        pad=0.015,
        fraction=0.04,
        aspect=22,
        extend=extend,
    )
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] # the stub has a list of spines here
    bar.ax.tick_params(length=2, labelsize=7, color=QUIET)
    bar.ax.set_ylabel("points" if extend == "both" or norm.vmin < 0 else "% of seeds", fontsize=7)


def _box(ax: Axes, x: int, y: int, *, inset: float, **look: Any) -> None:
    from matplotlib.patches import Rectangle

    side = 1 - 2 * inset
    ax.add_patch(Rectangle((x - 0.5 + inset, y - 0.5 + inset), side, side, **look))


def _readable(colour: tuple[float, float, float, float]) -> str:
    """Black on light cells, white on dark ones."""
    red, green, blue, _ = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.48 else "white"
