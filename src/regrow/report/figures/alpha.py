"""How much of their own weights networks kept when they were grafted, layer by layer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Final

from matplotlib.figure import FigureBase

from regrow.report.drawing import Drawing
from regrow.report.figures.axes import (
    epochs,
    legend_of_panels,
    panels,
    panels_size,
    same_scale,
    shortened,
    shown,
)
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import INK, by_depth
from regrow.report.weight_series import counted, grafted_layers, grafting_arms, share_series
from regrow.study.results import Results

_COLUMNS: Final = 3
_NAMED: Final = 6
"""Layers that a legend names; of more it names the first, the middle and the last."""

_BANDS: Final = 4
"""More layers than this are lines alone: their ranges would hide each other."""


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The larger side of each layer's share, one panel an arm whose networks grafted, one line a layer.

    Alpha of two networks adds up to 1, so that its mean is 0.5 whatever they carry. Drawn is the share that the one
    with more information kept, 0.5 + |alpha - 0.5|.
    """
    arms = grafting_arms(results, cell)
    if not arms:
        return
    layers = {arm: grafted_layers(results, cell, arm) for arm in arms}
    larger = {
        arm: {
            layer: {
                time: [0.5 + abs(value - 0.5) for value in values]
                for time, values in share_series(results, cell, arm, layer).items()
            }
            for layer in own
        }
        for arm, own in layers.items()
    }
    band = ", band: smallest to largest" if max(map(len, layers.values())) <= _BANDS else ""
    seeds = counted(results, cell, results.grafts)
    last = last_epoch(results, cell, arms=arms)

    def draw(figure: FigureBase) -> None:
        named = list(dict.fromkeys(layer for own in larger.values() for layer in own))
        colours = by_depth(named)
        grid = panels(figure, list(larger), columns=_COLUMNS, ylabel="Larger share, alpha")
        for ax, own in zip(grid, larger.values(), strict=True):
            for layer, series in own.items():
                times, colour = list(series), colours[layer]
                if len(own) <= _BANDS:
                    low, high = (
                        [pick(values) for values in series.values()] for pick in (min, max)
                    )
                    ax.fill_between(times, low, high, color=colour, alpha=0.12, lw=0, zorder=2)
                means = [statistics.fmean(values) for values in series.values()]
                marker = "o" if len(times) < 12 else ""
                ax.plot(times, means, color=colour, lw=1.2, marker=marker, ms=3, zorder=3)
            ax.axhline(0.5, color=INK, lw=0.7, ls=(0, (2, 2)), zorder=1)
            epochs(ax, last + 0.5)
            ax.locator_params(axis="y", nbins=5)
        same_scale(grid, low=0.49, high=1.0)
        if len(named) > _NAMED:
            named = [named[0], named[len(named) // 2], named[-1]]
        handles = [
            grid[0].plot([], [], color=colours[layer], lw=1.6, label=shown(shortened(layer, 24)))[0]
            for layer in named
        ]
        legend_of_panels(figure, handles)

    yield Drawing(
        name="alpha",
        title="Shares that the networks kept",
        caption=(
            "Share of its own weights that the network with more information kept at each graft, 0.5 + |alpha - 0.5|, "
            "one line a layer, dark to light from the first to the last. (Alphas of two networks add up to 1: their "
            f"mean is 0.5 always.) Line: mean{band} over networks and n = {seeds} seeds. 0.5 is averaging."
        ),
        alt="Line charts of alpha by epoch, one panel an arm, one line a layer.",
        size=panels_size(len(arms), columns=_COLUMNS),
        kept=True,
        draw=draw,
    )
