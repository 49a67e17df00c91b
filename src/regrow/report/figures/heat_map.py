"""A panel of a sweep as two heat maps: the mean gain in every cell, and the seeds that failed.

Blue is better than what the arm is compared with, orange worse, white no difference, on a scale that is the same on
both sides. A bold, framed number has a 95 % interval that excludes 0. Cells without a pair are blank and crossed out.

Source: Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery", ICLR 2016 workshop,
Figure 3. https://arxiv.org/abs/1602.05931
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import isnan, nan
from typing import Final

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures.axes import is_narrow, shown
from regrow.report.figures.style import FAINT, INK, QUIET
from regrow.report.judged import judged_by
from regrow.report.sweep.panels import Panel, SweepCell
from regrow.report.sweep.tables import pairs
from regrow.study.results import Results

_BESIDE: Final = 6
"""Up to so many columns two maps stand side by side; wider ones stand above each other."""

_HARM, _GAIN, _FAIL = "#d55e00", "#0072b2", "#4d4d4d"

_LEAST: Final = 0.005
"""Half a point: the scale never shrinks below it, so that nothing looks like much."""


def figures(results: Results, panel: Panel) -> Iterator[Drawing]:
    """The gains and the failed seeds of every cell, at the head of every panel."""
    blank = len(panel.cells) - len(panel.measured)
    crossed = f" Crossed out: {wording.count(blank, 'cell')} without a pair." if blank else ""
    limit, beyond = colour_limit([cell.gain for cell in panel.measured])
    ends = " Colours end at the points of the bar, the numbers do not." if beyond else ""
    # Decided here once: the caption's size and what is drawn would otherwise disagree about how tall the figure is.
    beside = len(panel.x.values) <= _BESIDE
    height = 1.05 + 0.29 * len(panel.y.values)
    yield Drawing(
        name="map",
        place="panel",
        title=f"Gain of {panel.arm} over {panel.versus} and failed seeds in every cell",
        caption=(
            f"Mean paired difference of {judged_by(results.study.stream).accuracy}, {panel.arm} minus {panel.versus}, "
            f"in percentage points, and failed seeds, in each of {len(panel.cells)} cells; "
            f"n = {pairs(panel.measured)} pairs each. Bold in a frame: the 95 % "
            "bootstrap interval excludes 0 (each cell by itself, not corrected for their number)."
            f"{crossed}{ends}"
        ),
        alt=f"Two heat maps over {panel.x.setting} and {panel.y.setting}, a number in each cell.",
        size=(WIDE[0], height if beside else 2 * height),
        narrow=(PHONE, 2 * (height + 0.2)),
        kept=True,
        draw=partial(_draw, panel, 100 * limit, beyond, beside),
    )


def colour_limit(gains: Sequence[float | None]) -> tuple[float, bool]:
    """Where the colours end, and whether a gain lies beyond: a broken corner would leave the rest without colour."""
    # The largest gain, unless it is far above what 95 % of the cells have.
    sizes = sorted(abs(gain) for gain in gains if gain is not None)
    if not sizes:
        return _LEAST, False
    most = max(sizes[int(0.95 * (len(sizes) - 1))], _LEAST)
    return (most, True) if sizes[-1] > 1.5 * most else (max(sizes[-1], _LEAST), False)


def _draw(panel: Panel, limit: float, beyond: bool, beside: bool, figure: FigureBase) -> None:
    beside = beside and not is_narrow(figure)
    gains, lost = (figure.add_subplot(*((1, 2) if beside else (2, 1)), place) for place in (1, 2))
    _map(
        gains,
        panel,
        title=f"Mean gain of {panel.arm} over {panel.versus} (points)",
        beside=beside,
        values=[nan if cell.gain is None else 100 * cell.gain for cell in panel.cells],
        written=lambda cell: wording.points(cell.gain),
        marked=lambda cell: cell.comparison.outcome in {"gain", "harm"},
        colours=[_HARM, "#ffffff", _GAIN],
        ends=(-limit, limit),
        extend="both" if beyond else "neither",
        unit="points",
    )
    # Failed seeds in percent, under both arms: the scale is that of the worse.
    ended = [cell for cell in panel.cells if cell.numbers.both]
    worst = [
        max(cell.numbers.failed_a, cell.numbers.failed_b) / cell.numbers.both for cell in ended
    ]
    title = f"Failed seeds under {panel.arm}"
    if ended:
        seeds = wording.span([cell.numbers.both for cell in ended])
        without = wording.span([cell.numbers.failed_b for cell in ended])
        title += f", of {seeds} (under {panel.versus}: {without})"
    _map(
        lost,
        panel,
        title=title,
        beside=beside,
        values=[
            100 * cell.numbers.failed_a / cell.numbers.both if cell.numbers.both else nan
            for cell in panel.cells
        ],
        written=lambda cell: str(cell.numbers.failed_a),
        marked=lambda _: False,
        colours=["#ffffff", _FAIL],
        ends=(0, 100 * max(worst, default=0.0) or 100.0),
        extend="neither",
        unit="% of seeds",
    )


def _map(
    ax: Axes,
    panel: Panel,
    *,
    title: str,
    beside: bool,
    values: Sequence[float],
    written: Callable[[SweepCell], str],
    marked: Callable[[SweepCell], bool],
    colours: Sequence[str],
    ends: tuple[float, float],
    extend: str,
    unit: str,
) -> None:
    """One map: colours, a number a cell, blank cells crossed out."""
    columns, rows, narrow = len(panel.x.values), len(panel.y.values), is_narrow(ax.figure)
    mesh = ax.pcolormesh(
        [x - 0.5 for x in range(columns + 1)], [y - 0.5 for y in range(rows + 1)],
        [values[row * columns : (row + 1) * columns] for row in range(rows)],
        cmap=LinearSegmentedColormap.from_list("map", list(colours)), vmin=ends[0], vmax=ends[1],
        edgecolors=FAINT, lw=0.5,
    )  # fmt: skip
    size = 7.0 if columns <= 12 else max(3.0, 6.0 * 16 / max(columns, 16))
    size = min(size, max(3.0, 56 / columns)) if narrow else size
    for place, (cell, value) in enumerate(zip(panel.cells, values, strict=True)):
        y, x = divmod(place, columns)
        # Crossed out and not white, which is the colour of no difference.
        if isnan(value):  # no pair yet
            across, upwards = [-0.5, 0.5, nan, -0.5, 0.5], [-0.5, 0.5, nan, 0.5, -0.5]
            ax.plot([x + d for d in across], [y + d for d in upwards], color=FAINT, lw=0.7)
            continue
        red, green, blue, _ = mesh.to_rgba(value)  # pyright: ignore[reportArgumentType] # one number is an array too
        # How bright the eye takes the cell to be: on the rest a dark number could not be read.
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.48
        if marked(cell):
            ax.add_patch(Rectangle((x - 0.44, y - 0.44), 0.88, 0.88, fill=False, ec=INK, lw=0.8))
        number = ax.text(
            x, y, written(cell), ha="center", va="center", fontsize=size,
            fontweight="bold" if marked(cell) else "normal", color=INK if light else "white",
        )  # fmt: skip
        number.set_in_layout(False)  # it is inside, and there are hundreds
    # Side by side there is no room for a title in one line.
    ax.set_title(shown(title).replace(" (", "\n(" if beside or narrow else " ("), loc="left", pad=7)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    ax.set(xlabel=shown(panel.x.setting).strip(), ylabel=shown(panel.y.setting).strip())
    ax.set_xticks(range(columns), [str(value) for value in panel.x.values])
    ax.set_yticks(range(rows), [str(value) for value in panel.y.values])
    ax.grid(visible=False)
    ax.tick_params(length=0)
    if max(len(str(value)) for value in panel.x.values) * columns > (45 if narrow else 90):
        ax.tick_params(axis="x", rotation=90)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.015, fraction=0.04, aspect=22, extend=extend)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] # the stub has a list of spines here
    bar.ax.tick_params(length=2, labelsize=7, color=QUIET)
    bar.ax.set_ylabel(unit, fontsize=7)
