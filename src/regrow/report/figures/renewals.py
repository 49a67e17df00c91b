"""When filters were renewed, in which layers, and on which seeds: on those that fail without them?

Drawn where `report/figures/order` has it, from the stored renewals and the summary's failures.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch

from regrow.report import wording
from regrow.report.drawing import NARROW, Drawing, in_turn
from regrow.report.figures.axes import last_epoch, legend_above, seed_order, shown, whole_numbers
from regrow.report.figures.style import INK, even
from regrow.report.judged import judged_by
from regrow.report.summary import failed_seeds
from regrow.study.results import Results

LAYERS: Final = 5  # layers named in a legend; the rest are drawn together

_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "")


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """For each arm that renewed any filter: how many in each epoch, by layer over all seeds, and seed by seed."""
    for number, arm in enumerate(renewing_arms(results, cell)):
        trials = results.arm(cell, arm)
        counts = by_layer(results, cell, arm)
        renewed = sum(n for own in counts.values() for n in own.values())
        touched = len(results.of_arm(cell, arm, results.renewals))
        replaying = [label for label, tested in results.study.replays.items() if tested == arm]
        repeated = f" The control {', '.join(replaying)} repeats the same numbers."
        seeds = wording.count(len(trials), "seed")
        last, part = last_epoch(results, cell), shown_epochs(results, cell, arm)
        hidden = ""
        if part < last:
            hidden = f" Epochs 1 to {part} of {last} are shown: none was renewed later."
        by_epoch = Drawing(
            name=f"renewals-{arm}",
            place=in_turn(number),
            title=f"Renewals of {arm} by layer",
            caption=(
                f"When and where {arm} renewed filters: number per epoch by layer, summed over "
                f"n = {seeds}; {renewed} in all.{repeated if replaying else ''}{hidden}"
            ),
            alt="Stacked histogram of renewed filters by epoch and layer.",
            size=NARROW,
            arm=arm,
            as_printed=True,
            draw=partial(_draw_layers, counts, last, part),
        )
        yield by_epoch
        yield replace(
            by_epoch,
            name=f"renewals-by-seed-{arm}",
            title=f"Renewals of {arm} by seed",
            caption=(
                f"Where the renewals of {arm} fall: one row a seed, in the order of the sorted seeds, "
                f"n = {seeds}, {touched} of them with a renewal. White: none. "
                f"Crosses at the right: the seed failed under {results.study.baseline} (left) or "
                f"{arm} (right).{hidden}"
            ),
            alt="Map of renewed filters, one row a seed, one column an epoch.",
            draw=partial(_draw_seeds, results, cell, arm, part),
        )


def renewing_arms(results: Results, cell: str) -> list[str]:
    """The arms that renewed any filter, without controls that repeat the renewals of an arm beside them."""
    every = [arm.label for arm in results.study.arms]
    found = [label for label in every if results.of_arm(cell, label, results.renewals)]
    controls = results.study.replays
    return [label for label in found if controls.get(label) not in found]


def by_layer(results: Results, cell: str, arm: str) -> dict[str, Counter[int]]:
    """Filters that an arm renewed, by layer and epoch, over all seeds; the rarest of many layers are put together."""
    found: dict[str, Counter[int]] = {}
    for _, renewals in results.of_arm(cell, arm, results.renewals):
        for renewal in renewals:
            found.setdefault(renewal.layer, Counter())[renewal.epoch] += 1
    kept = sorted(found, key=lambda layer: -found[layer].total())
    rest = kept[LAYERS:] if len(kept) > LAYERS + 1 else []
    named = {layer: found[layer] for layer in sorted(found, key=_natural) if layer not in rest}
    together = sum((found[layer] for layer in rest), Counter[int]())
    return named | ({f"{len(rest)} other layers": together} if rest else {})


def shown_epochs(results: Results, cell: str, arm: str) -> int:
    """How many epochs are shown: all, or a little more than those with renewals where these end before half of them."""
    every = max(last_epoch(results, cell), 1)
    trials = results.of_arm(cell, arm, results.renewals)
    last = max((renewal.epoch for _, own in trials for renewal in own), default=every)
    return every if 2 * last >= every else min(every, max(round(1.2 * last), last + 1, 5))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts)]


def _draw_layers(
    counts: Mapping[str, Mapping[int, int]], last: int, part: int, figure: FigureBase
) -> None:
    ax = figure.add_subplot()
    base = [0.0] * last
    handles: list[Patch] = []
    # Dark to light, so that layers stay apart in grey.
    shades = [mpl.colormaps["cividis"](x) for x in even(0.9, 0.1, len(counts))][::-1]
    for (layer, own), colour, hatch in zip(counts.items(), shades, _HATCHES, strict=False):
        top = [low + own.get(epoch, 0) for epoch, low in enumerate(base, start=1)]
        edges = [0.5 + epoch for epoch in range(last + 1)]
        look: dict[str, Any] = {
            "facecolor": colour,
            "edgecolor": "white",
            "hatch": hatch,
            "lw": 0.3,
        }
        ax.fill_between(edges, [*base, base[-1]], [*top, top[-1]], step="post", **look)
        handles.append(Patch(**look, label=shown(layer)))
        base = top
    ax.set(xlim=(0.5, part + 0.5), ylim=(0, 1.05 * max(base)))
    ax.set(xlabel="Epoch", ylabel="Filters renewed per epoch,\nall seeds together")
    whole_numbers(ax.xaxis, ax.yaxis)
    legend_above(ax, handles)


def _draw_seeds(results: Results, cell: str, arm: str, part: int, figure: FigureBase) -> None:
    ax = figure.add_subplot()
    trials, last = results.arm(cell, arm), last_epoch(results, cell)
    seeds = [seed for seed in seed_order(results, cell) if seed in trials]
    rows = [[0] * last for _ in seeds]
    for row, seed in zip(rows, seeds, strict=True):
        for renewal in results.renewals.get(trials[seed].trial, ()):
            row[renewal.epoch - 1] += 1
    most = max(n for row in rows for n in row)
    # Lower ends of the colour classes, as far as there are counts.
    bounds = [bound for bound in (1, 2, 5, 20, 100) if bound <= most]
    shades = [mpl.colormaps["cividis_r"](x) for x in even(0.15, 1.0, len(bounds))]
    ax.imshow(
        rows, aspect="auto", origin="lower", interpolation="nearest",
        cmap=ListedColormap(shades).with_extremes(under="white"),
        norm=BoundaryNorm([*bounds, 10**9], len(bounds)),
        extent=(0.5, last + 0.5, 0.5, len(seeds) + 0.5),
    )  # fmt: skip
    ax.set_xlim(0.5, part + 0.5)
    _mark_failures(ax, results, cell, arm, seeds)
    whole_numbers(ax.xaxis, ax.yaxis)
    ax.grid(visible=False)
    ax.set_xlabel("Epoch")
    name = judged_by(results.study.stream).unit.name
    ax.set_ylabel(f"Rank of the seed by\n{name} under {shown(results.study.baseline).strip()}")
    names = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in pairwise(bounds)]
    names.append(f"{bounds[-1]} or more")
    handles = [Patch(facecolor=c, label=name) for c, name in zip(shades, names, strict=True)]
    legend_above(ax, handles, title="Filters renewed in the epoch")


def _mark_failures(ax: Axes, results: Results, cell: str, arm: str, seeds: list[int]) -> None:
    across = ax.get_yaxis_transform()
    ax.text(1.07, 1.02, "failed", transform=ax.transAxes, ha="center", va="bottom", fontsize=8)
    for place, label in ((1.04, results.study.baseline), (1.10, arm)):
        failed = failed_seeds(results.arm(cell, label), judged_by(results.study.stream))
        heights = [index for index, seed in enumerate(seeds, start=1) if seed in failed]
        if heights:  # an empty unclipped line would reach to the figure's corner in the layout
            ax.plot(
                [place] * len(heights), heights, ls="none", marker="x", ms=3.2, mew=0.9, color=INK,
                transform=across, clip_on=False,
            )  # fmt: skip
