"""One small panel a layer, one line an arm: mean and spread of any number over the epochs."""

from __future__ import annotations

from typing import Final

from matplotlib.artist import Artist
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch

from regrow.report import wording
from regrow.report.drawing import WIDE, Drawing
from regrow.report.figures.axes import (
    epochs,
    legend_of_panels,
    line_in_band,
    panels,
    panels_size,
    shortened,
)
from regrow.report.figures.dropping import HELD, phases
from regrow.report.figures.renewing import even
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import arm_styles
from regrow.report.weight_series import ByLayer, layer_series, seen_layers
from regrow.study.results import Results

PANELS: Final = 24
"""Layers drawn at most: a deeper network's are taken at even distances from its first to its last."""

_COLUMNS: Final = 4
_SHADE: Final = "#e2e2e2"


def layer_drawing(
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
        f"{shortened(layer, room - len(str(layers[layer])) - 3)} ({layers[layer]})"
        for layer in drawn
    ]

    def draw(figure: FigureBase) -> None:
        handles: dict[str, Artist] = {}
        out = phases(results, cell)
        grid = panels(figure, titles, columns=_COLUMNS, ylabel=ylabel)
        for ax, layer in zip(grid, drawn, strict=True):
            for arm, style in arm_styles(results).items():
                found = layer_series(results, cell, arm, held, layer)
                if found:
                    # Steps, for a value holds from the end of its epoch on; the last one for half an epoch more.
                    found = {**found, max(found) + HELD: found[max(found)]}
                    values = [(m - (sd or 0.0), m, m + (sd or 0.0)) for m, sd, _ in found.values()]
                    handles[arm] = line_in_band(
                        ax, list(found), values, style=style, label=arm, step=True
                    )
            for start, end in out:
                ax.axvspan(start, end, color=_SHADE, lw=0, zorder=0)
            epochs(ax, last_epoch(results, cell) + HELD)
            ax.locator_params(axis="y", nbins=5)
        if out:
            handles[""] = Patch(facecolor=_SHADE, label="filters out of the network")
        # In the order of the study, which the first layer need not have: not every arm knows every layer.
        order = [arm.label for arm in results.study.arms] + [""]
        legend_of_panels(figure, [handles[arm] for arm in order if arm in handles])

    return Drawing(
        name=name,
        title=title,
        caption=caption,
        alt=f"Small line charts of {ylabel.partition(' (')[0].lower()} by epoch, one panel a layer, one line an arm.",
        size=panels_size(len(drawn), columns=_COLUMNS, high=1.55),
        kept=kept,
        draw=draw,
    )
