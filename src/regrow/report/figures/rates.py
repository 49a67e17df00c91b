"""How each arm of a stream does at every learning rate that was tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from matplotlib.artist import Artist
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures import apart, axes
from regrow.report.figures.style import arm_styles, many_arms
from regrow.report.judged import judged_by
from regrow.report.rates import rates_of
from regrow.study.results import Results

Curves = Mapping[str, Mapping[float, list[float]]]
"""Arm to rate to the accuracies of its trials, in percent."""


def figures(results: Results) -> Iterator[Drawing]:
    """The whole curve of every arm, where the rate is all that is varied."""
    found = {arm.label: _curve(results, arm.label) for arm in results.study.arms}
    curves = {label: own for label, own in found.items() if own}
    if not curves:
        return
    counts = [len(values) for own in curves.values() for values in own.values()]
    many = many_arms(results)
    lines = apart.told(results) if many else "Line: mean; band: its 95 % t interval over the seeds"
    judged = judged_by(results.study.stream)
    yield Drawing(
        name="rates",
        place="overview",
        title="Every arm at every learning rate",
        caption=(
            f"{judged.whole}, by learning rate. {lines}; n = {wording.span(counts)} seeds. An arm that is "
            "best at an end of the axis may be better still beyond it."
        ),
        alt="Line chart of accuracy by learning rate, one line an arm.",
        size=apart.size(results, curves) if many else (WIDE[0], 3.6),
        narrow=apart.narrow(results, curves) if many else (PHONE, 3.6),
        as_printed=many,
        kept=True,
        draw=partial(_draw, results, curves),
    )


def _curve(results: Results, label: str) -> dict[float, list[float]]:
    found = {
        rate: [
            100 * trial.test_accuracy
            for trial in results.arm(cell, label).values()
            if trial.test_accuracy is not None
        ]
        for rate, cell in rates_of(results).items()
    }
    return {rate: values for rate, values in found.items() if values}


def _draw(results: Results, curves: Curves, figure: FigureBase) -> None:
    ends = {
        label: [(x, axes.mean_in_interval(each)) for x, each in own.items()]
        for label, own in curves.items()
    }
    if many_arms(results):
        apart.draw(results, ends, figure, xlabel="Rate", ylabel="Accuracy (%)", log=True)
        return
    ax = figure.add_subplot()
    styles, handles = arm_styles(results), list[Artist]()
    for label, points in ends.items():
        rates, values = zip(*points, strict=True)
        handles.append(axes.line_in_band(ax, rates, values, style=styles[label], label=label))
    ax.set_xscale("log")
    ax.set_xlabel("Learning rate")
    ax.set_ylabel(f"{judged_by(results.study.stream).title} (%)")
    axes.legend_above(ax, handles)
