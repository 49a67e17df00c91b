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
"""Arm to rate to what its trials are judged by: accuracies in percent, or errors."""


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
    less = " Less is better." if judged.unit.lower else ""
    yield Drawing(
        name="rates",
        place="overview",
        title="Every arm at every learning rate",
        caption=(
            f"{judged.whole}, by learning rate. {lines}; n = {wording.span(counts)} seeds. An arm that is "
            f"best at an end of the axis may be better still beyond it.{less}"
        ),
        alt=f"Line chart of {judged.unit.name} by learning rate, one line an arm.",
        size=apart.size(results, curves) if many else (WIDE[0], 3.6),
        narrow=apart.narrow(results, curves) if many else (PHONE, 3.6),
        as_printed=many,
        kept=True,
        draw=partial(_draw, results, curves),
    )


def _curve(results: Results, label: str) -> dict[float, list[float]]:
    judged = judged_by(results.study.stream)
    found = {
        rate: [
            judged.unit.scale * number
            for trial in results.arm(cell, label).values()
            if (number := judged.of(trial)) is not None
        ]
        for rate, cell in rates_of(results).items()
    }
    return {rate: values for rate, values in found.items() if values}


def _draw(results: Results, curves: Curves, figure: FigureBase) -> None:
    ends = {
        label: [(x, axes.mean_in_interval(each)) for x, each in own.items()]
        for label, own in curves.items()
    }
    judged = judged_by(results.study.stream)
    unit = judged.unit
    if many_arms(results):
        named = f"{unit.name.capitalize()}{unit.of_value}"
        apart.draw(results, ends, figure, xlabel="Rate", ylabel=named, log=True, unit=unit)
        return
    ax = figure.add_subplot()
    styles, handles = arm_styles(results), list[Artist]()
    for label, points in ends.items():
        rates, values = zip(*points, strict=True)
        handles.append(axes.line_in_band(ax, rates, values, style=styles[label], label=label))
    ax.set_xscale("log")
    ax.set_xlabel("Learning rate")
    if unit.lower:
        every = [y for points in ends.values() for _, y in points]
        axes.errors_axis(ax, [y[1] for y in every], ends=[y[2] for y in every])
    ax.set_ylabel(f"{judged.title}{unit.of_value}")
    axes.legend_above(ax, handles)
