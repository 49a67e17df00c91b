"""When and where filters were renewed: by layer over the epochs, and by seed over the epochs."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.scale import last_epoch, seed_order
from regrow.report.figures.style import (
    INK,
    NARROW,
    canvas,
    house_style,
    legend_above,
    nothing_yet,
    shown,
    whole_numbers,
)
from regrow.report.results import Results
from regrow.report.summary import failed_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAYERS = 5  # named in the legend; the rest are drawn together
_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "")


def renewing_arms(results: Results, cell: str) -> list[str]:
    """The arms worth a figure of their renewals.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        Labels of the arms that renewed any filter. A control has the same renewals as the arm that
        it replays, and is left out beside it.
    """
    found = [
        arm.label
        for arm in results.study.arms
        if any(t.trial in results.renewals for t in results.arm(cell, arm.label).values())
    ]
    controls = results.study.controls
    return [label for label in found if controls.get(label) not in found]


def plot_renewals(
    results: Results, cell: str, *, arm: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw how many filters an arm renewed in each epoch, by layer, over all seeds.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label; the first that renewed any filter if None.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.

    Edge cases:
        More than five layers: the five with the most renewals, and the others together.
    """
    from matplotlib.patches import Patch

    with house_style():
        figure, ax = canvas(ax, size=NARROW)
        label = arm or next(iter(renewing_arms(results, cell)), None)
        counts = by_layer(results, cell, label) if label else {}
        last = last_epoch(results, cell)
        base = [0.0] * last
        handles: list[object] = []
        for (_layer, epochs), colour, hatch in zip(
            counts.items(), _shades(len(counts)), _HATCHES, strict=False
        ):
            top = [b + epochs.get(epoch, 0) for epoch, b in enumerate(base, start=1)]
            look = {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "linewidth": 0.3}
            edges = [0.5 + epoch for epoch in range(last + 1)]
            ax.fill_between(edges, [*base, base[-1]], [*top, top[-1]], step="post", **look)  # pyright: ignore[reportArgumentType] # a plain dict of artist properties
            handles.append(Patch(**look))  # pyright: ignore[reportArgumentType] # the same
            base = top
        ax.set_xlim(0.5, shown_epochs(results, cell, label) + 0.5)
        ax.set_ylim(0, 1.05 * max(base, default=0.0) or 1.0)
        whole_numbers(ax.xaxis)
        whole_numbers(ax.yaxis)
        ax.set_xlabel("Epoch")
        ax.set_ylabel("Filters renewed per epoch,\nall seeds together")
        if handles:
            legend_above(ax, handles=handles, labels=list(counts), columns=3)
        else:
            nothing_yet(ax, "No filter was renewed")
    return figure, ax


def caption_renewals(results: Results, cell: str, arm: str) -> str:
    """Say what `plot_renewals` shows.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.

    Returns:
        The caption, with n.
    """
    trials = results.arm(cell, arm)
    renewed = sum(n for epochs in by_layer(results, cell, arm).values() for n in epochs.values())
    text = (
        f"When and where {arm} renewed filters: number per epoch by layer, summed over "
        f"n = {wording.count(len(trials), 'seed')}; {renewed} in all."
    )
    replaying = [label for label, tested in results.study.controls.items() if tested == arm]
    if replaying:
        text += f" The control {', '.join(replaying)} repeats the same numbers."
    return text + _range(results, cell, arm)


def plot_renewals_by_seed(
    results: Results, cell: str, *, arm: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw how many filters an arm renewed in each epoch of each seed.

    The seeds are in the order of `plot_sorted_seeds`, so that one sees whether the renewals fall
    on those that fail without them.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label; the first that renewed any filter if None.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.
    """
    import matplotlib as mpl
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    with house_style():
        figure, ax = canvas(ax, size=NARROW)
        label = arm or next(iter(renewing_arms(results, cell)), None)
        seeds = [s for s in seed_order(results, cell) if label and s in results.arm(cell, label)]
        last = last_epoch(results, cell)
        ax.set_xlabel("Epoch")
        ax.set_ylabel(
            f"Rank of the seed by\naccuracy under {shown(results.study.baseline).strip()}"
        )
        ax.grid(visible=False)
        if label is None or not seeds:
            nothing_yet(ax, "No filter was renewed")
            return figure, ax
        rows = _rows(results, cell, label, seeds, last)
        bounds = _bounds(max(n for row in rows for n in row))
        shades = [mpl.colormaps["cividis_r"](x) for x in _even(0.15, 1.0, len(bounds))]
        ax.imshow(
            rows, aspect="auto", origin="lower", interpolation="nearest",
            cmap=ListedColormap(shades).with_extremes(under="white"),
            norm=BoundaryNorm([*bounds, 10**9], len(bounds)),
            extent=(0.5, last + 0.5, 0.5, len(seeds) + 0.5),
        )  # fmt: skip
        ax.set_xlim(0.5, shown_epochs(results, cell, label) + 0.5)
        _mark_failures(ax, results, cell, label, seeds)
        whole_numbers(ax.xaxis)
        whole_numbers(ax.yaxis)
        legend_above(
            ax,
            handles=[Patch(facecolor=shade) for shade in shades],
            labels=_classes(bounds),
            columns=3,
        )
    return figure, ax


def caption_renewals_by_seed(results: Results, cell: str, arm: str) -> str:
    """Say what `plot_renewals_by_seed` shows.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.

    Returns:
        The caption, with n.
    """
    trials = results.arm(cell, arm)
    touched = sum(trial.trial in results.renewals for trial in trials.values())
    return (
        f"Where the renewals of {arm} fall: one row a seed, in the order of the sorted seeds, "
        f"n = {wording.count(len(trials), 'seed')}, {touched} of them with a renewal. White: none. "
        f"Crosses at the right: the seed failed under {results.study.baseline} (left) or "
        f"{arm} (right).{_range(results, cell, arm)}"
    )


def by_layer(results: Results, cell: str, arm: str) -> dict[str, dict[int, int]]:
    """Filters that an arm renewed, by layer and epoch, over all seeds.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.

    Returns:
        Layer to {epoch: filters}, in the order of the numbers in the names; beyond five layers
        those with the fewest renewals are put together.
    """
    found: dict[str, dict[int, int]] = {}
    for trial in results.arm(cell, arm).values():
        for renewal in results.renewals.get(trial.trial, ()):
            epochs = found.setdefault(renewal.layer, {})
            epochs[renewal.epoch] = epochs.get(renewal.epoch, 0) + renewal.filters
    kept = sorted(found, key=lambda layer: -sum(found[layer].values()))
    rest = kept[_LAYERS:] if len(kept) > _LAYERS + 1 else []
    together: dict[int, int] = {}
    for layer in rest:
        for epoch, filters in found[layer].items():
            together[epoch] = together.get(epoch, 0) + filters
    named = {layer: found[layer] for layer in sorted(found, key=_natural) if layer not in rest}
    return named | ({f"{len(rest)} other layers": together} if rest else {})


def shown_epochs(results: Results, cell: str, arm: str | None) -> int:
    """How many epochs the figures of the renewals show.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label; None for none.

    Returns:
        All epochs, or a little more than those with renewals where these end before half of them.
    """
    every = max(last_epoch(results, cell), 1)
    trials = results.arm(cell, arm).values() if arm else ()
    last = max((r.epoch for t in trials for r in results.renewals.get(t.trial, ())), default=every)
    return every if 2 * last >= every else min(every, max(round(1.2 * last), last + 1, 5))


def _range(results: Results, cell: str, arm: str) -> str:
    """A sentence on epochs that are not shown."""
    part, every = shown_epochs(results, cell, arm), last_epoch(results, cell)
    return (
        ""
        if part >= every
        else f" Epochs 1 to {part} of {every} are shown: none was renewed later."
    )


def _rows(results: Results, cell: str, arm: str, seeds: list[int], last: int) -> list[list[int]]:
    trials = results.arm(cell, arm)
    rows: list[list[int]] = []
    for seed in seeds:
        row = [0] * last
        for renewal in results.renewals.get(trials[seed].trial, ()):
            row[renewal.epoch - 1] += renewal.filters
        rows.append(row)
    return rows


def _bounds(most: int) -> list[int]:
    """Lower ends of the colour classes: 1, 2, 5, 20, 100, as far as there are counts."""
    return [bound for bound in (1, 2, 5, 20, 100) if bound <= max(most, 1)]


def _classes(bounds: list[int]) -> list[str]:
    """How the legend names the classes."""
    ends = [
        f"{low}" if high == low + 1 else f"{low} to {high - 1}" for low, high in pairwise(bounds)
    ]
    return [*ends, f"{bounds[-1]} or more filters"]


def _even(first: float, last: float, number: int) -> list[float]:
    """Numbers at even distances; a single one is the last."""
    if number == 1:
        return [last]
    return [first + (last - first) * index / (number - 1) for index in range(number)]


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


def _shades(number: int) -> list[object]:
    """Dark to light, so that layers stay apart in grey."""
    import matplotlib as mpl

    colours = mpl.colormaps["cividis"]
    return [colours(x) for x in _even(0.9, 0.1, number)][::-1]


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if index % 2 else (0, 0, part) for index, part in enumerate(parts)]
