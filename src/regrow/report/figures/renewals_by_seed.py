"""On which seeds the renewals fall, in the order of the sorted seeds: on those that fail without them?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch

from regrow.report import wording
from regrow.report.drawing import NARROW, Drawing, in_turn
from regrow.report.figures.axes import legend_above, shown, whole_numbers
from regrow.report.figures.renewing import even, hidden_epochs, renewing_arms, shown_epochs
from regrow.report.figures.scale import last_epoch, seed_order
from regrow.report.figures.style import INK
from regrow.report.summary import failed_seeds
from regrow.study.results import Results


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """For each arm that renewed any filter: how many in each epoch of each seed."""
    for number, arm in enumerate(renewing_arms(results, cell)):
        trials = results.arm(cell, arm)
        touched = len(results.of_arm(cell, arm, results.renewals))
        yield Drawing(
            name=f"renewals-by-seed-{arm}",
            place=in_turn(number),
            title=f"Renewals of {arm} by seed",
            caption=(
                f"Where the renewals of {arm} fall: one row a seed, in the order of the sorted seeds, "
                f"n = {wording.count(len(trials), 'seed')}, {touched} of them with a renewal. White: none. "
                f"Crosses at the right: the seed failed under {results.study.baseline} (left) or "
                f"{arm} (right).{hidden_epochs(results, cell, arm)}"
            ),
            alt="Map of renewed filters, one row a seed, one column an epoch.",
            size=NARROW,
            draw=partial(_draw, results, cell, arm),
        )


def _draw(results: Results, cell: str, arm: str, figure: FigureBase) -> None:
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
    ax.set_xlim(0.5, shown_epochs(results, cell, arm) + 0.5)
    _mark_failures(ax, results, cell, arm, seeds)
    whole_numbers(ax.xaxis, ax.yaxis)
    ax.grid(visible=False)
    ax.set_xlabel("Epoch")
    ax.set_ylabel(f"Rank of the seed by\naccuracy under {shown(results.study.baseline).strip()}")
    names = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in pairwise(bounds)]
    legend_above(
        ax,
        handles=[Patch(facecolor=shade) for shade in shades],
        labels=[*names, f"{bounds[-1]} or more"],
        title="Filters renewed in the epoch",
    )


def _mark_failures(ax: Axes, results: Results, cell: str, arm: str, seeds: list[int]) -> None:
    across = ax.get_yaxis_transform()
    ax.text(1.07, 1.02, "failed", transform=ax.transAxes, ha="center", va="bottom", fontsize=8)
    for place, label in ((1.04, results.study.baseline), (1.10, arm)):
        failed = failed_seeds(results.arm(cell, label))
        heights = [index for index, seed in enumerate(seeds, start=1) if seed in failed]
        if heights:  # an empty unclipped line would reach to the figure's corner in the layout
            ax.plot(
                [place] * len(heights), heights, ls="none", marker="x", ms=3.2, mew=0.9, color=INK,
                transform=across, clip_on=False,
            )  # fmt: skip
