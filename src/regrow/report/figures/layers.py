"""How the filters of each layer overlap, and what its weights carry: one small panel a layer, one line an arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from matplotlib.artist import Artist
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch

from regrow.report import wording
from regrow.report.drawing import WIDE, Drawing
from regrow.report.figures import axes
from regrow.report.figures.filter_map import HELD, phases
from regrow.report.figures.style import even
from regrow.report.weights import ByLayer, Spread, counted, layer_series, seen_layers
from regrow.study.results import Results

PANELS: Final = 24
"""Layers drawn at most: a deeper network's are taken at even distances from its first to its last."""

_COLUMNS: Final = 4
_SHADE: Final = "#e2e2e2"


def overlap(results: Results, cell: str) -> Iterator[Drawing]:
    """The overlap of the filters, where it was measured."""
    if seen_layers(results, cell, results.overlaps):
        grey = (
            " Grey: filters are out of the network; a layer is then what is left of it, without them as filters and as "
            "inputs."
        )
        yield _layers(
            results,
            cell,
            results.overlaps,
            name="overlap",
            title="Overlap of the filters, layer by layer",
            caption=(
                "Inter-filter overlap (sum of |cosine| with the layer's other filters over their number; no unit), "
                "averaged over the filters in the network after every epoch; panels have scales of their own, the "
                "number of filters stands in brackets. Line: mean, band: one standard deviation over "
                f"n = {counted(results, cell, results.overlaps)} seeds.{grey if phases(results, cell) else ''}"
            ),
            ylabel="Mean overlap",
            kept=True,
        )


def entropy(results: Results, cell: str) -> Iterator[Drawing]:
    """The entropy of the weights, where they were looked at."""
    if seen_layers(results, cell, results.entropies):
        yield _layers(
            results,
            cell,
            results.entropies,
            name="entropy",
            title="Entropy of the weights, layer by layer",
            caption=(
                "Entropy of each layer's weights after every epoch (10 bins between the smallest and the largest "
                "weight, natural logarithm), mean over a trial's networks; panels have scales of their own, the number "
                "of filters stands in brackets. Line: mean, band: one standard deviation over "
                f"n = {counted(results, cell, results.entropies)} seeds."
            ),
            ylabel="Entropy (nats)",
        )


def _layers(
    results: Results,
    cell: str,
    held: ByLayer,
    *,
    name: str,
    title: str,
    caption: str,
    ylabel: str,
    kept: bool = False,
) -> Drawing:
    """A figure of one number of each layer."""
    layers = seen_layers(results, cell, held)
    drawn = list(layers)
    if len(layers) > PANELS:
        caption += f" {PANELS} of {wording.count(len(layers), 'layer')} are drawn."
        drawn = [drawn[round(place)] for place in even(0, len(drawn) - 1, PANELS)]
    # At 8 points a letter is about 4.5 points wide, and an axis with its numbers takes 38.
    room = int((72 * WIDE[0] / min(_COLUMNS, len(drawn)) - 38) / 4.5)
    titles = [
        f"{axes.shortened(layer, room - len(str(layers[layer])) - 3)} ({layers[layer]})"
        for layer in drawn
    ]

    def draw(figure: FigureBase) -> None:
        handles: dict[str, Artist] = {}
        arms, out = [arm.label for arm in results.study.arms], phases(results, cell)
        grid = axes.panels(figure, titles, columns=_COLUMNS, ylabel=ylabel)
        for ax, layer in zip(grid, drawn, strict=True):
            found = {arm: layer_series(results, cell, arm, held, layer) for arm in arms}
            values = {arm: _steps(own) for arm, own in found.items() if own}
            handles |= axes.lines_in_bands(ax, results, values, step=True)
            for start, end in out:
                ax.axvspan(start, end, color=_SHADE, lw=0, zorder=0)
            axes.epochs(ax, axes.last_epoch(results, cell) + HELD)
            ax.locator_params(axis="y", nbins=5)
        if out:
            handles[""] = Patch(facecolor=_SHADE, label="filters out of the network")
        # In the order of the study, which the first layer need not have: not every arm knows every layer.
        axes.legend_of_panels(figure, [handles[arm] for arm in (*arms, "") if arm in handles])

    return Drawing(
        name=name,
        title=title,
        caption=caption,
        alt=f"Small line charts of {ylabel.partition(' (')[0].lower()} by epoch, one panel a layer, one line an arm.",
        size=axes.panels_size(len(drawn), columns=_COLUMNS, high=1.55),
        narrow=axes.narrow_panels(len(drawn), high=1.55),
        kept=kept,
        draw=draw,
    )


def _steps(series: Mapping[int, Spread]) -> dict[float, axes.Ends]:
    """Ends for steps: a value holds from the end of its epoch on, the last one for half an epoch more."""
    held = {**series, max(series) + HELD: series[max(series)]}
    return {time: (m - (sd or 0.0), m, m + (sd or 0.0)) for time, (m, sd, _) in held.items()}
