"""When filters were renewed, and in which layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch

from regrow.report import wording
from regrow.report.drawing import NARROW, Drawing, in_turn
from regrow.report.figures.axes import legend_above, whole_numbers
from regrow.report.figures.renewing import (
    by_layer,
    even,
    hidden_epochs,
    renewing_arms,
    shown_epochs,
)
from regrow.report.figures.scale import last_epoch
from regrow.study.results import Results

_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "")


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """For each arm that renewed any filter: how many in each epoch, by layer, over all seeds."""
    for number, arm in enumerate(renewing_arms(results, cell)):
        counts = by_layer(results, cell, arm)
        renewed = sum(n for own in counts.values() for n in own.values())
        text = (
            f"When and where {arm} renewed filters: number per epoch by layer, summed over "
            f"n = {wording.count(len(results.arm(cell, arm)), 'seed')}; {renewed} in all."
        )
        replaying = [label for label, tested in results.study.replays.items() if tested == arm]
        if replaying:
            text += f" The control {', '.join(replaying)} repeats the same numbers."
        yield Drawing(
            name=f"renewals-{arm}",
            place=in_turn(number),
            title=f"Renewals of {arm} by layer",
            caption=text + hidden_epochs(results, cell, arm),
            alt="Stacked histogram of renewed filters by epoch and layer.",
            size=NARROW,
            draw=partial(
                _draw, counts, last_epoch(results, cell), shown_epochs(results, cell, arm)
            ),
        )


def _draw(
    counts: Mapping[str, Mapping[int, int]], last: int, part: int, figure: FigureBase
) -> None:
    ax = figure.add_subplot()
    base = [0.0] * last
    handles: list[Patch] = []
    # Dark to light, so that layers stay apart in grey.
    shades = [mpl.colormaps["cividis"](x) for x in even(0.9, 0.1, len(counts))][::-1]
    for own, colour, hatch in zip(counts.values(), shades, _HATCHES, strict=False):
        top = [low + own.get(epoch, 0) for epoch, low in enumerate(base, start=1)]
        edges = [0.5 + epoch for epoch in range(last + 1)]
        look: dict[str, Any] = {
            "facecolor": colour,
            "edgecolor": "white",
            "hatch": hatch,
            "lw": 0.3,
        }
        ax.fill_between(edges, [*base, base[-1]], [*top, top[-1]], step="post", **look)
        handles.append(Patch(**look))
        base = top
    ax.set(xlim=(0.5, part + 0.5), ylim=(0, 1.05 * max(base)))
    ax.set(xlabel="Epoch", ylabel="Filters renewed per epoch,\nall seeds together")
    whole_numbers(ax.xaxis, ax.yaxis)
    legend_above(ax, handles=handles, labels=list(counts))
