"""On which seeds the renewals fall."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.axes import legend_above, nothing_yet, shown, whole_numbers
from regrow.report.figures.renewing import even, hidden_epochs, renewing_arms, shown_epochs
from regrow.report.figures.scale import last_epoch, seed_order
from regrow.report.figures.style import INK, NARROW, canvas, house_style
from regrow.report.summary import failed_seeds
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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
        shades = [mpl.colormaps["cividis_r"](x) for x in even(0.15, 1.0, len(bounds))]
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
            title="Filters renewed in the epoch",
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
        f"{arm} (right).{hidden_epochs(results, cell, arm)}"
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
    return [*ends, f"{bounds[-1]} or more"]


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
