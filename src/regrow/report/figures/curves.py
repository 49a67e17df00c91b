"""How the test accuracy of each arm grows over the epochs: a panel an arm, of very many arms their medians in one.

Dozens of seeds of several arms on top of each other are a thicket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from regrow.report import wording
from regrow.report.drawing import NARROW, Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import (
    INK,
    QUIET,
    ArmStyle,
    arm_styles,
    arms_size,
    many_arms,
    narrow_arms,
)
from regrow.study.results import Results

_COLUMNS: Final = 3
_MANY: Final = 4000
"""More points than this are drawn as pixels: hundreds of curves are megabytes as vectors, and look the same."""

Curves = Mapping[str, Sequence[Mapping[int, float]]]
"""Arm to one curve a trial, epoch to accuracy in percent."""


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """Median, quartiles and every seed of each arm, of many arms medians alone; tasks have figures of their own."""
    if results.study.stream is not None:
        return
    curves = {arm.label: learning_curves(results, cell, arm.label) for arm in results.study.arms}
    if not any(curves.values()):
        return
    counts = ", ".join(f"{len(own)} ({label})" for label, own in curves.items())
    lines = (
        "Median over the seeds; with so many arms, quartiles and single seeds are left out."
        if many_arms(results)
        else "Thick: median; thin: quartiles; faint: single seeds."
    )
    text = f"Test accuracy over the epochs; n = {counts} seeds. {lines}"
    drawn = [label for label, own in curves.items() if own]
    stopped = sum(trial.status == "diverged" for trial in results.trials_in(cell))
    if stopped:
        text += (
            f" {wording.count(stopped, 'trial')} became non-finite and stopped: kept at the last "
            "accuracy."
        )
    whole, narrow = arms_size(results), narrow_arms(results)
    if not many_arms(results):
        several = len(drawn) > 1
        whole = axes.panels_size(len(drawn), columns=_COLUMNS) if several else NARROW
        narrow = axes.narrow_panels(len(drawn)) if several else None
    yield Drawing(
        name="curves",
        title="Learning curves",
        caption=text,
        alt=f"Line chart of median test accuracy by epoch, one {'line' if many_arms(results) else 'panel'} an arm.",
        size=whole,
        narrow=narrow,
        kept=True,
        draw=partial(_draw_medians if many_arms(results) else _draw_panels, results, cell, curves),
    )


def learning_curves(results: Results, cell: str, label: str) -> list[dict[int, float]]:
    """The accuracy by epoch, in percent, of each trial of an arm that was evaluated and did not crash."""
    last = axes.last_epoch(results, cell)
    evaluated = sorted(
        {
            epoch
            for trial in results.trials_in(cell)
            if trial.status == "finished"
            for epoch in results.accuracies.get(trial.trial, {})
        }
    )
    found: list[dict[int, float]] = []
    for trial in results.arm(cell, label).values():
        curve = {e: 100 * y for e, y in results.accuracies.get(trial.trial, {}).items()}
        # One that diverged goes on at its last accuracy: leaving it out would flatter its arm.
        if trial.status == "diverged" and trial.test_accuracy is not None:
            stop = trial.epochs or max(curve, default=0)
            later = [epoch for epoch in evaluated if epoch > stop] or [max(last, 1)]
            curve |= dict.fromkeys([max(stop, 1), *later], 100 * trial.test_accuracy)
        if curve and trial.status != "crashed":
            found.append(curve)
    return found


def _draw_panels(results: Results, cell: str, curves: Curves, figure: FigureBase) -> None:
    drawn = {label: own for label, own in curves.items() if own}
    grid = axes.panels(figure, list(drawn), columns=_COLUMNS, ylabel="Test accuracy (%)")
    points = sum(len(curve) for own in drawn.values() for curve in own)
    baseline = results.study.baseline
    below = sorted(_quartiles(drawn[baseline]).items()) if baseline in drawn else []
    failed: list[Artist] = []
    for ax, (label, own) in zip(grid, drawn.items(), strict=True):
        named = ax.get_ylabel()
        failed = axes.accuracy_axis(ax, results, cell)
        ax.set_ylabel(named)
        _draw_arm(ax, own, arm_styles(results)[label], pixels=points > _MANY)
        if label != baseline and below:
            ax.plot(
                [time for time, _ in below], [middle for _, (_, middle, _) in below],
                color=INK, ls=(0, (1, 1.2)), lw=1.0, zorder=2.8,
            )  # fmt: skip
        axes.epochs(ax, axes.last_epoch(results, cell) + 0.5)
        _fit(ax, [y for every in drawn.values() for curve in every for y in curve.values()])
    handles: list[Artist] = [
        Line2D([], [], color=QUIET, lw=1.8, label="median"),
        Patch(facecolor=QUIET, edgecolor=QUIET, alpha=0.4, lw=0.6, label="quartiles"),
        Line2D([], [], color=QUIET, lw=0.6, alpha=0.7, label="one seed"),
    ]
    if below and len(drawn) > 1:
        name = f"median of {axes.shown(baseline).strip()}"
        handles.append(Line2D([], [], color=INK, ls=(0, (1, 1.2)), lw=1.0, label=name))
    axes.legend_of_panels(figure, [*handles, *failed])


def _quartiles(own: Sequence[Mapping[int, float]]) -> dict[int, tuple[float, float, float]]:
    times = sorted({epoch for curve in own for epoch in curve})
    return {
        epoch: axes.quartiles([curve[epoch] for curve in own if epoch in curve]) for epoch in times
    }


def _draw_arm(
    ax: Axes, own: Sequence[Mapping[int, float]], style: ArmStyle, *, pixels: bool
) -> None:
    """The seeds of one arm, and what they have in common."""
    bands = _quartiles(own)
    low, middle, high = zip(*bands.values(), strict=True)
    lines = [sorted(curve.items()) for curve in own]
    faint = max(0.15, min(0.55, 6 / len(lines)))
    ax.add_collection(
        LineCollection(
            lines, colors=style.colour, lw=0.6, alpha=faint, zorder=1.5, rasterized=pixels
        )
    )
    ax.fill_between(list(bands), low, high, color=style.colour, alpha=0.18, lw=0, zorder=2)
    for edge in (low, high):
        ax.plot(list(bands), edge, color=style.colour, lw=0.6, zorder=2.5)
    ax.plot(list(bands), middle, color=style.colour, lw=1.8, zorder=3)


def _fit(ax: Axes, values: Sequence[float]) -> None:
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, min(values) - 1), max(high, min(max(values) + 1, 101)))


def _draw_medians(results: Results, cell: str, curves: Curves, figure: FigureBase) -> None:
    ax = figure.add_subplot()
    handles: list[Artist] = []
    drawn: list[float] = []
    failed = axes.accuracy_axis(ax, results, cell)
    for index, (label, style) in enumerate(arm_styles(results).items()):
        medians = {epoch: middle for epoch, (_, middle, _) in _quartiles(curves[label]).items()}
        if not medians:
            continue
        step = max(1, len(medians) // 6)
        handles += ax.plot(
            list(medians), list(medians.values()), color=style.colour, ls=style.line, lw=1.6,
            marker=style.marker, ms=3.5, markevery=(index * step // len(curves), step), zorder=3,
            label=axes.shown(label),
        )  # fmt: skip
        drawn += medians.values()
    ax.set_xlabel("Epoch")
    axes.epochs(ax, axes.last_epoch(results, cell) + 0.5)
    _fit(ax, drawn)
    axes.legend_above(ax, [*handles, *failed])
