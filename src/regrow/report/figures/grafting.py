"""What grafting does: how much of their own weights networks kept, layer by layer, and how far they were apart."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Final

from matplotlib.figure import FigureBase

from regrow.report.drawing import Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import INK, arms_size, by_depth, narrow_arms
from regrow.report.weights import counted, distance_series, grafted_layers, share_series
from regrow.study.results import Results

_COLUMNS: Final = 3
_NAMED: Final = 6  # layers that a legend names; of more it names the first, the middle and the last

_BANDS: Final = 4  # more layers than this are lines alone: their ranges would hide each other


def shares(results: Results, cell: str) -> Iterator[Drawing]:
    """The larger side of each layer's share, for alphas of two networks add up to 1: a panel an arm, a line a layer."""
    layers = grafted_layers(results, cell)
    if not layers:
        return
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
    last = axes.last_epoch(results, cell, arms=layers)

    def draw(figure: FigureBase) -> None:
        named = list(dict.fromkeys(layer for own in larger.values() for layer in own))
        colours = by_depth(named)
        grid = axes.panels(figure, list(larger), columns=_COLUMNS, ylabel="Larger share, alpha")
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
            axes.epochs(ax, last + 0.5)
            ax.locator_params(axis="y", nbins=5)
        axes.same_scale(grid, low=0.49, high=1.0)
        if len(named) > _NAMED:
            named = [named[0], named[len(named) // 2], named[-1]]
        handles = [
            grid[0].plot(
                [], [], color=colours[layer], lw=1.6, label=axes.shown(axes.shortened(layer, 24))
            )[0]
            for layer in named
        ]
        axes.legend_of_panels(figure, handles)

    yield Drawing(
        name="alpha",
        title="Shares that the networks kept",
        caption=(
            "Share of its own weights that the network with more information kept at each graft, 0.5 + |alpha - 0.5|, "
            "one line a layer, dark to light from the first to the last. (Alphas of two networks add up to 1: their "
            f"mean is 0.5 always.) Line: mean{band} over networks and n = {seeds} seeds. 0.5 is averaging."
        ),
        alt="Line charts of alpha by epoch, one panel an arm, one line a layer.",
        size=axes.panels_size(len(layers), columns=_COLUMNS),
        narrow=axes.narrow_panels(len(layers)),
        as_printed=True,
        kept=True,
        draw=draw,
    )


def distances(results: Results, cell: str) -> Iterator[Drawing]:
    """The distance between partners right before each graft, one line an arm whose networks grafted."""
    every = {arm.label: distance_series(results, cell, arm.label) for arm in results.study.arms}
    series = {arm: own for arm, own in every.items() if own}
    if not series:
        return

    def draw(figure: FigureBase) -> None:
        ax = figure.add_subplot()
        found = {
            arm: {
                time: (min(all_of), statistics.fmean(all_of), max(all_of))
                for time, all_of in own.items()
            }
            for arm, own in series.items()
        }
        handles = axes.lines_in_bands(ax, results, found)
        ax.set(xlabel="Epoch", ylabel="Distance between partners")
        axes.epochs(ax, axes.last_epoch(results, cell, arms=series) + 0.5)
        ax.set_ylim(bottom=0)
        axes.legend_above(ax, list(handles.values()))

    yield Drawing(
        name="distance",
        title="Distance between partners",
        caption=(
            "Distance between the weights of a network and its partner right before each graft, as a share of the mean "
            "of their lengths (no unit; about 1.41 for directions that have nothing in common), mean over the layers. "
            "Line: mean, band: smallest to largest over networks and "
            f"n = {counted(results, cell, results.grafts)} seeds."
        ),
        alt="Line chart of the distance between partners by epoch, one line an arm.",
        size=arms_size(results),
        narrow=narrow_arms(results),
        draw=draw,
    )
