"""How the test accuracy of each arm grows over the epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import arm_styles, arms_size, many_arms
from regrow.study.results import Results

Curves = Mapping[str, Sequence[Mapping[int, float]]]
"""Arm to one curve a trial, epoch to accuracy in percent."""


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """Median and quartiles of each arm and every seed faintly, of many arms medians alone; where any was evaluated.

    Tasks of a stream have a figure of their own.
    """
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
    stopped = sum(trial.status == "diverged" for trial in results.trials_in(cell))
    if stopped:
        text += (
            f" {wording.count(stopped, 'trial')} became non-finite and stopped: kept at the last "
            "accuracy."
        )
    yield Drawing(
        name="curves",
        title="Learning curves",
        caption=text,
        alt="Line chart of median test accuracy by epoch, one line an arm.",
        size=arms_size(results),
        kept=True,
        draw=partial(_draw, results, cell, curves),
    )


def learning_curves(results: Results, cell: str, label: str) -> list[dict[int, float]]:
    """The test accuracy by epoch, in percent, of each trial of an arm with any evaluation that did not crash.

    A trial that diverged stops; it is continued at its last accuracy up to the last epoch of the cell, for leaving it
    out would flatter its arm.
    """
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
        if trial.status == "diverged" and trial.test_accuracy is not None:
            stop = trial.epochs or max(curve, default=0)
            later = [epoch for epoch in evaluated if epoch > stop] or [max(last, 1)]
            curve |= dict.fromkeys([max(stop, 1), *later], 100 * trial.test_accuracy)
        if curve and trial.status != "crashed":
            found.append(curve)
    return found


def _draw(results: Results, cell: str, curves: Curves, figure: FigureBase) -> None:
    ax = figure.add_subplot()
    handles: list[Artist] = []
    drawn: list[float] = []
    failed = axes.accuracy_axis(ax, results, cell)
    for index, (label, style) in enumerate(arm_styles(results).items()):
        own = curves[label]
        if not own:
            continue
        times = sorted({epoch for curve in own for epoch in curve})
        bands = [
            axes.quartiles([curve[epoch] for curve in own if epoch in curve]) for epoch in times
        ]
        low, middle, high = zip(*bands, strict=True)
        if not many_arms(results):
            lines = [sorted(curve.items()) for curve in own]
            # Hundreds of curves are megabytes as vectors, and as faint as pixels.
            ax.add_collection(
                LineCollection(
                    lines, colors=style.colour, lw=0.4, alpha=0.18, zorder=1.5, rasterized=True
                )
            )
            drawn += [y for curve in own for y in curve.values()]
            ax.fill_between(times, low, high, color=style.colour, alpha=0.09, lw=0, zorder=2)
            for edge in (low, high):
                ax.plot(times, edge, color=style.colour, ls=style.line, lw=0.6, zorder=2.5)
        step = max(1, len(times) // 6)
        handles += ax.plot(
            times, middle, color=style.colour, ls=style.line, lw=1.6, marker=style.marker,
            ms=3.5, markevery=(index * step // len(curves), step), zorder=3, label=axes.shown(label),
        )  # fmt: skip
        drawn += middle
    ax.set_xlabel("Epoch")
    axes.epochs(ax, axes.last_epoch(results, cell) + 0.5)
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, min(drawn) - 1), max(high, min(max(drawn) + 1, 101)))
    axes.legend_above(ax, [*handles, *failed])
