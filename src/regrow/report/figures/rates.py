"""How each arm of a stream does at every learning rate that was tried."""

from __future__ import annotations

from collections.abc import Iterator

from regrow.report import wording
from regrow.report.drawing import Drawing
from regrow.report.figures import lines
from regrow.report.judged import judged_by
from regrow.report.rates import rates_of
from regrow.study.results import Results


def figures(results: Results) -> Iterator[Drawing]:
    """The whole curve of every arm, where the rate is all that is varied."""
    found = {arm.label: _curve(results, arm.label) for arm in results.study.arms}
    curves = {label: own for label, own in found.items() if own}
    if not curves:
        return
    counts = [len(values) for own in curves.values() for values in own.values()]
    judged = judged_by(results.study.stream)
    drawn = lines.told(results, few="Line: mean; band: its 95 % t interval over the seeds")
    less = " Less is better." if judged.unit.lower else ""
    yield lines.figure_of(
        results,
        curves,
        name="rates",
        title="Every arm at every learning rate",
        caption=(
            f"{judged.whole}, by learning rate. {drawn}; n = {wording.span(counts)} seeds. An arm that is "
            f"best at an end of the axis may be better still beyond it.{less}"
        ),
        alt=f"Line chart of {judged.unit.name} by learning rate, one line an arm.",
        named=judged.title,
        short=judged.unit.name.capitalize(),
        rates=True,
    )


def _curve(results: Results, label: str) -> dict[float, list[float]]:
    """Rate to what trials are judged by: accuracies, or errors."""
    judged = judged_by(results.study.stream)
    found = {
        rate: judged.known(results.arm(cell, label)) for rate, cell in rates_of(results).items()
    }
    return {rate: list(values.values()) for rate, values in found.items() if values}
