"""The accuracy of every seed, sorted by the baseline's, all arms side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regrow.report import wording
from regrow.report.figures.axes import legend_above, nothing_yet, shown
from regrow.report.figures.scale import accuracy_axis, seed_order
from regrow.report.figures.style import FAINT, WIDE, arm_styles, canvas, house_style
from regrow.study.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERED = 30  # more seed numbers than this do not fit below the axis


def plot_sorted_seeds(
    results: Results, cell: str, *, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw every seed's accuracy, the seeds sorted by the baseline's.

    A mean hides who was rescued: here each seed of the baseline stands beside the same seed,
    the same initial weights, under every other arm.

    Args:
        results: What was read.
        cell: The cell.
        ax: Axes to draw into; a figure of its own without.

    Returns:
        The figure and the axes.

    Edge cases:
        Crashed trials measured nothing and are drawn as crosses at the lower edge.

    Source:
        Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
        ICLR 2016 workshop, Figure 4. https://arxiv.org/abs/1602.05931
    """
    with house_style():
        figure, ax = canvas(ax, size=WIDE)
        seeds = seed_order(results, cell)
        handles, labels = accuracy_axis(ax, results, cell)
        _draw_spans(ax, results, cell, seeds)
        arms = _draw_arms(ax, results, cell, seeds)
        _label_seeds(ax, seeds, results.study.baseline)
        if seeds:
            names = [arm.label for arm in results.study.arms]
            legend_above(ax, handles=[*arms, *handles], labels=[*names, *labels])
        else:
            nothing_yet(ax, "No trial has ended yet")
    return figure, ax


def caption_sorted_seeds(results: Results, cell: str) -> str:
    """Say what `plot_sorted_seeds` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    seeds = seed_order(results, cell)
    paired = sum(
        all(seed in results.arm(cell, arm.label) for arm in results.study.arms) for seed in seeds
    )
    crashed = sum(trial.test_accuracy is None for trial in results.trials if trial.cell == cell)
    text = (
        f"Test accuracy after the last epoch of each seed, sorted by the accuracy under "
        f"{results.study.baseline}; n = {wording.count(len(seeds), 'seed')}, {paired} of them with "
        "every arm. Marks above one another started from the same weights and saw the same "
        "batches. In the grey band a seed has failed."
    )
    return f"{text} Crosses at the lower edge: {crashed} crashed." if crashed else text


def _draw_spans(ax: Axes, results: Results, cell: str, seeds: list[int]) -> None:
    """A thin line through all marks of a seed leads the eye from arm to arm."""
    trials = [results.arm(cell, arm.label) for arm in results.study.arms]
    for place, seed in enumerate(seeds, start=1):
        found = [
            100 * trial.test_accuracy
            for arm in trials
            if (trial := arm.get(seed)) is not None and trial.test_accuracy is not None
        ]
        if found:
            ax.vlines(place, min(found), max(found), color=FAINT, lw=0.8, zorder=1.5)


def _draw_arms(ax: Axes, results: Results, cell: str, seeds: list[int]) -> list[object]:
    styles = arm_styles(results)
    floor = ax.get_ylim()[0]
    place = {seed: index for index, seed in enumerate(seeds, start=1)}
    arms = results.study.arms
    crowded = len(seeds) * len(arms) > 120
    size = 3.6 if crowded else 5.0
    # A little to the side of one another: equal accuracies must not hide an arm.
    width = 0.7 if crowded else 0.5
    handles: list[object] = []
    for index, arm in enumerate(arms):
        style = styles[arm.label]
        baseline = arm.label == results.study.baseline
        shift = width * (index / (len(arms) - 1) - 0.5) if len(arms) > 1 else 0.0
        trials = results.arm(cell, arm.label)
        known = [
            (place[seed] + shift, 100 * trial.test_accuracy)
            for seed, trial in trials.items()
            if trial.test_accuracy is not None
        ]
        (drawn,) = ax.plot(
            [x for x, _ in known],
            [y for _, y in known],
            ls="none",
            marker=style.marker,
            ms=size,
            mfc="white" if baseline else style.colour,
            mec=style.colour,
            mew=0.9 if baseline else 0.4,
            zorder=3 if baseline else 4,
            clip_on=not known,
        )
        handles.append(drawn)
        crashed = [place[seed] + shift for seed, t in trials.items() if t.test_accuracy is None]
        if crashed:  # an empty unclipped line would reach to the figure's corner in the layout
            ax.plot(
                crashed, [floor] * len(crashed), ls="none", marker="x", ms=size + 1, mew=1.3,
                color=style.colour, clip_on=False, zorder=5,
            )  # fmt: skip
    return handles


def _label_seeds(ax: Axes, seeds: list[int], baseline: str) -> None:
    ax.set_xlim(0.3, max(len(seeds), 1) + 0.7)
    name = shown(baseline).strip()
    ax.grid(visible=False, axis="x")
    if len(seeds) <= _NUMBERED:
        ax.set_xticks(range(1, len(seeds) + 1), [str(seed) for seed in seeds])
        ax.tick_params(axis="x", length=0)
        ax.set_xlabel(f"Seed number, sorted by accuracy under {name}")
    else:
        ax.set_xlabel(f"Rank of the seed by accuracy under {name}")
