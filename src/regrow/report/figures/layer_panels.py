"""One small panel a layer, one line an arm: mean and spread of any number over the epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from regrow.report.figures.axes import nothing_yet, shortened, shown, whole_numbers
from regrow.report.figures.dropping import HELD, phases
from regrow.report.figures.renewing import even
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import WIDE, arm_styles, canvas, house_style, panels
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS: Final = 24
"""Layers drawn at most: a deeper network's are taken at even distances from its first to its last."""

Series = Callable[[str, str], Mapping[int, tuple[float, float | None, int]]]
"""Arm and layer to a mean, a standard deviation (None for a single seed) and a number of seeds by epoch."""

_COLUMNS: Final = 4
_SHADE: Final = "#e2e2e2"
_PANEL_HEIGHT: Final = 1.55  # inches


def plot_layer_panels(
    results: Results,
    cell: str,
    *,
    layers: Mapping[str, int],
    series: Series,
    ylabel: str,
    nothing: str,
    layer: str | None,
    ax: Axes | None,
) -> tuple[Figure, Axes]:
    """Draw a number of each layer over the epochs, one small panel a layer.

    Args:
        results: What was read.
        cell: The cell.
        layers: Number of filters by layer, of the layers to be drawn.
        series: What is drawn.
        ylabel: What it is.
        nothing: What is said where there is nothing to draw.
        layer: The layer to draw into `ax`; the first if None.
        ax: Axes for one panel; without, a figure of its own with a panel for each layer.

    Returns:
        The figure and the axes; of several panels the lower left one.
    """
    with house_style():
        if ax is not None or len(layers) < 2:
            figure, ax = canvas(ax, size=(WIDE[0], 2.6))
            name = layer or next(iter(layers), None)
            handles = [] if name is None else _panel(ax, results, cell, name, series)
            ax.set_xlabel("Epoch")
            ax.set_ylabel(ylabel)
            if name is None:
                nothing_yet(ax, nothing)
            elif handles:
                ax.set_title(shown(name), loc="left", fontsize=8)
                ax.legend(handles=handles, loc="best")
            return figure, ax
        columns = min(_COLUMNS, len(layers))
        whole = -(-len(layers) // columns)
        figure, grid = panels(
            len(layers), columns=columns, size=(WIDE[0], 0.65 + _PANEL_HEIGHT * whole)
        )
        handles: list[Artist] = []
        for index, (own, name) in enumerate(zip(grid, layers, strict=True)):
            drawn = _panel(own, results, cell, name, series)
            handles = drawn if len(drawn) > len(handles) else handles
            # At 8 points a letter is about 4.5 points wide, and an axis with its numbers takes 38.
            number = f" ({layers[name]})"
            room = int((72 * WIDE[0] / columns - 38) / 4.5) - len(number)
            own.set_title(f"{shown(shortened(name, room))}{number}", loc="left", fontsize=8)
            if index % columns == 0:
                own.set_ylabel(ylabel)
            if index + columns >= len(layers):
                own.set_xlabel("Epoch")
        figure.legend(handles=handles, loc="outside upper left", ncols=6)
        return figure, grid[columns * (whole - 1)]


def at_most(layers: Mapping[str, int]) -> dict[str, int]:
    """As many layers as have room.

    Args:
        layers: Number of filters by layer, in the network's order.

    Returns:
        All, or 24 at even distances.
    """
    every = list(layers.items())
    if len(every) > PANELS:
        every = [every[round(place)] for place in even(0, len(every) - 1, PANELS)]
    return dict(every)


def _panel(ax: Axes, results: Results, cell: str, layer: str, series: Series) -> list[Artist]:
    from matplotlib.patches import Patch

    handles: list[Artist] = []
    for label, style in arm_styles(results).items():
        found = series(label, layer)
        if not found:
            continue
        # Steps, for a value holds from the end of its epoch on; the last one for half an epoch more, to be seen.
        held = [*found.items(), (max(found) + HELD, found[max(found)])]
        times = [time for time, _ in held]
        means = [mean for _, (mean, _, _) in held]
        low = [mean - (spread or 0.0) for _, (mean, spread, _) in held]
        high = [mean + (spread or 0.0) for _, (mean, spread, _) in held]
        ax.fill_between(
            times, low, high, color=style.colour, alpha=0.16, lw=0, zorder=2, step="post"
        )
        (line,) = ax.plot(
            times, means, color=style.colour, ls=style.line, lw=1.3, zorder=3,
            drawstyle="steps-post", label=shown(label),
        )  # fmt: skip
        handles.append(line)
    out = phases(results, cell)
    for start, end in out:
        ax.axvspan(start, end, color=_SHADE, lw=0, zorder=0)
    if out and handles:
        handles.append(Patch(facecolor=_SHADE, label="filters out of the network"))
    ax.set_xlim(0, last_epoch(results, cell) + HELD)
    whole_numbers(ax.xaxis)
    ax.locator_params(axis="y", nbins=5)
    return handles
