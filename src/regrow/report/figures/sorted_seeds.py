"""The accuracy of every seed, sorted by the baseline's, all arms side by side.

A mean hides who was rescued: here each seed of the baseline stands beside the same seed, the same initial weights,
under every other arm.

Source: Cohen et al., "RandomOut: Using a convolutional gradient norm to win The Filter Lottery", ICLR 2016 workshop,
Figure 4. https://arxiv.org/abs/1602.05931
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import FAINT, arm_styles
from regrow.report.judged import judged_by
from regrow.report.sweep.panels import Chosen, Panel
from regrow.report.sweep.told import failed, gain
from regrow.study.results import Results

_NUMBERED = 4.2  # seed numbers to an inch that fit below the axis
_NARROW = (PHONE, 3.6)


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """Every seed's accuracy, in every cell."""
    seeds = axes.seed_order(results, cell)
    arms = [results.arm(cell, arm.label) for arm in results.study.arms]
    paired = sum(all(seed in trials for trials in arms) for seed in seeds)
    judged = judged_by(results.study.stream)
    name, lower = judged.unit.name, judged.unit.lower
    crashed = sum(judged.of(trial) is None for trial in results.trials_in(cell))
    text = (
        f"{judged.whole} of each seed, sorted by the {name} under "
        f"{results.study.baseline}; n = {wording.count(len(seeds), 'seed')}, {paired} of them with "
        "every arm. Marks above one another started from the same weights and saw the same "
        f"batches. {'Less is better.' if lower else 'In the grey band a seed has failed.'}"
    )
    yield Drawing(
        name="sorted",
        place="cell",
        title=f"{name.capitalize()} of each seed, sorted",
        caption=f"{text} Crosses at the lower edge: {crashed} crashed." if crashed else text,
        alt=f"Scatter plot of {'the' if lower else 'test'} {name} by seed, one mark an arm.",
        size=WIDE,
        narrow=_NARROW,
        kept=True,
        draw=partial(_draw, results, cell),
    )


def held_back(results: Results, panel: Panel) -> Iterator[Drawing]:
    """The held-back seeds in the chosen cell, pair by pair, where plain training is what the panel is compared with."""
    chosen = panel.chosen[0] if panel.chosen and panel.against_baseline else None
    if chosen is None or not chosen.after.numbers.both:
        return
    before, after = chosen.before, chosen.after
    yield Drawing(
        name="pairs",
        place="choice",
        title="The chosen cell, seed by seed, on the seeds that did not choose it",
        caption=(
            f"{judged_by(results.study.stream).title} of the {wording.count(after.numbers.both, 'seed')} held back, "
            f"sorted by the accuracy under {after.versus}, at {panel.place(chosen.cell)}: the cell with the largest "
            f"mean gain over the other {wording.count(before.numbers.n, 'seed')}, those at {chosen.half} places of the "
            f"study's list. Gain on the seeds that chose {gain(before)}; on those shown {gain(after)}. Of the seeds "
            f"that chose, {failed(before)}; of those shown, {failed(after)}. Marks above one another started from the "
            "same weights and saw the same batches. In the grey band a seed has failed."
        ),
        alt="Scatter plot of test accuracy by seed, one mark an arm.",
        size=WIDE,
        narrow=_NARROW,
        kept=True,
        draw=partial(_draw, _part(results, chosen), chosen.cell.cell),
    )


def _part(results: Results, chosen: Chosen) -> Results:
    """What was read of the chosen cell's two arms and held-back seeds."""
    labels = {chosen.after.arm, chosen.after.versus}
    trials = tuple(
        trial
        for trial in results.trials_in(chosen.cell.cell)
        if trial.seed in chosen.held_back and trial.arm in labels
    )
    return replace(results, study=results.study.of_arms(labels), trials=trials)


def _draw(results: Results, cell: str, figure: FigureBase) -> None:
    """Draw the marks of all trials of a cell; crashed ones measured nothing and are crosses at the lower edge."""
    ax = figure.add_subplot()
    judged, seeds = judged_by(results.study.stream), axes.seed_order(results, cell)
    place = {seed: index for index, seed in enumerate(seeds, start=1)}
    failed = axes.accuracy_axis(ax, results, cell)
    # A thin line through all marks of a seed leads the eye from arm to arm.
    reached = [judged.drawn(results.arm(cell, arm.label)) for arm in results.study.arms]
    for seed in seeds:
        if found := [own[seed] for own in reached if seed in own]:
            ax.vlines(place[seed], min(found), max(found), color=FAINT, lw=0.8, zorder=1.5)
    arms = [_draw_arm(ax, results, cell, index, place) for index in range(len(results.study.arms))]
    ax.set_xlim(0.3, len(seeds) + 0.7)
    ax.grid(visible=False, axis="x")
    gap = "\n" if axes.is_narrow(figure) else " "
    by = f"sorted by{gap}{judged.unit.name} under {axes.shown(results.study.baseline).strip()}"
    if len(seeds) <= _NUMBERED * axes.inches(figure):
        ax.set_xticks(range(1, len(seeds) + 1), [str(seed) for seed in seeds])
        ax.tick_params(axis="x", length=0)
        ax.set_xlabel(f"Seed number, {by}")
    else:
        ax.set_xlabel(f"Rank of the seed, {by}")
    axes.legend_above(ax, [*arms, *failed])


def _draw_arm(ax: Axes, results: Results, cell: str, index: int, place: dict[int, int]) -> Artist:
    """The marks of one arm, a little to the side of the others': equal accuracies must not hide an arm."""
    arms = results.study.arms
    label = arms[index].label
    style = arm_styles(results)[label]
    crowded = len(place) * len(arms) > 120
    size, width = (3.6, 0.7) if crowded else (5.0, 0.5)
    shift = width * (index / (len(arms) - 1) - 0.5) if len(arms) > 1 else 0.0
    trials = results.arm(cell, label)
    known = judged_by(results.study.stream).drawn(trials)
    look: dict[str, Any] = {"mfc": style.colour, "mew": 0.4, "zorder": 4}
    if label == results.study.baseline:
        look = {"mfc": "white", "mew": 0.9, "zorder": 3}
    (drawn,) = ax.plot(
        [place[seed] + shift for seed in known], list(known.values()), ls="none",
        marker=style.marker, ms=size, mec=style.colour, clip_on=not known, label=axes.shown(label), **look,
    )  # fmt: skip
    crashed = [place[seed] + shift for seed in trials if seed not in known]
    if crashed:  # an empty unclipped line would reach to the figure's corner in the layout
        ax.plot(
            crashed, [ax.get_ylim()[0]] * len(crashed), ls="none", marker="x", ms=size + 1, mew=1.3,
            color=style.colour, clip_on=False, zorder=5,
        )  # fmt: skip
    return drawn
