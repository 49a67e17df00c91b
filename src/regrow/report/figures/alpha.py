"""How much of their own weights networks kept when they were grafted, layer by layer."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from regrow.report.figures.axes import nothing_yet, same_scale, shortened, shown, whole_numbers
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import INK, WIDE, house_style, panels
from regrow.report.weight_series import counted, grafted_layers, grafting_arms, share_series
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS: Final = 3
_NAMED: Final = 6
"""Layers that a legend names; of more it names the first, the middle and the last."""

_BANDS: Final = 4
"""More layers than this are lines alone: their ranges would hide each other."""


def plot_alpha(results: Results, cell: str) -> tuple[Figure, Axes]:
    """Draw the larger side of each layer's share over the epochs, one panel an arm, one line a layer.

    Alpha of two networks adds up to 1, so that its mean is 0.5 whatever they carry. Drawn is the share that the one
    with more information kept, 0.5 + |alpha - 0.5|.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The figure and the axes of the first arm.
    """
    from matplotlib import colormaps

    with house_style():
        arms = grafting_arms(results, cell)
        columns = max(1, min(_COLUMNS, len(arms)))
        rows = max(1, -(-len(arms) // columns))
        figure, grid = panels(max(1, len(arms)), columns=columns, size=(WIDE[0], 0.7 + 1.9 * rows))
        layers = list(
            dict.fromkeys(layer for arm in arms for layer in grafted_layers(results, cell, arm))
        )
        # Dark to light by depth; the map's end is too pale for white paper.
        shades = colormaps["viridis"].resampled(256)
        colours = {
            layer: shades(0.88 * place / max(len(layers) - 1, 1))
            for place, layer in enumerate(layers)
        }
        for place, (ax, arm) in enumerate(zip(grid, arms, strict=False)):
            _panel(ax, results, cell, arm, colours)
            ax.set_title(shown(arm), loc="left", fontsize=8)
            if place % columns == 0:
                ax.set_ylabel("Larger share, alpha")
            if place + columns >= len(arms):
                ax.set_xlabel("Epoch")
        if not arms:
            nothing_yet(grid[0], "No network took anything from another")
            return figure, grid[0]
        same_scale(grid, low=0.49, high=1.0)
        named = (
            layers if len(layers) <= _NAMED else [layers[0], layers[len(layers) // 2], layers[-1]]
        )
        handles = [
            grid[0].plot([], [], color=colours[layer], lw=1.6, label=shown(shortened(layer, 24)))[0]
            for layer in named
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
        return figure, grid[0]


def caption_alpha(results: Results, cell: str) -> str:
    """Say what `plot_alpha` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    held = results.networks.grafts
    layers = max(
        (len(grafted_layers(results, cell, arm)) for arm in grafting_arms(results, cell)), default=0
    )
    band = ", band: smallest to largest" if layers <= _BANDS else ""
    return (
        "Share of its own weights that the network with more information kept at each graft, 0.5 + |alpha - 0.5|, one "
        "line a layer, dark to light from the first to the last. (Alphas of two networks add up to 1: their mean is "
        f"0.5 always.) Line: mean{band} over networks and n = {counted(results, cell, held)} seeds. 0.5 is averaging."
    )


def _panel(
    ax: Axes, results: Results, cell: str, arm: str, colours: dict[str, tuple[float, ...]]
) -> None:
    layers = grafted_layers(results, cell, arm)
    for layer in layers:
        series = share_series(results, cell, arm, layer)
        larger = {
            time: [0.5 + abs(value - 0.5) for value in values] for time, values in series.items()
        }
        means = [statistics.fmean(values) for values in larger.values()]
        times = list(larger)
        if len(layers) <= _BANDS:
            low, high = ([pick(v) for v in larger.values()] for pick in (min, max))
            ax.fill_between(times, low, high, color=colours[layer], alpha=0.12, lw=0, zorder=2)
        marker = "o" if len(times) < 12 else ""
        ax.plot(times, means, color=colours[layer], lw=1.2, marker=marker, ms=3, zorder=3)
    ax.axhline(0.5, color=INK, lw=0.7, ls=(0, (2, 2)), zorder=1)
    ax.set_xlim(0, last_epoch(results, cell, arms=grafting_arms(results, cell)) + 0.5)
    whole_numbers(ax.xaxis)
    ax.locator_params(axis="y", nbins=5)
