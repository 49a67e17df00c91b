"""What the numbers allow to be said, in words: one paragraph a recipe, written by rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from regrow.lab.statistics import FEWEST_PAIRS
from regrow.report import wording
from regrow.report.findings import (
    ArmNumbers,
    CellSummary,
    Comparison,
    Outcome,
    StudySummary,
)

_HEADLINES: Final[dict[Outcome, str]] = {
    "gain": "a gain",
    "harm": "harm",
    "unclear": "no difference shown",
    "too few": "too few pairs to tell",
}

_DOUBT: Final = 0.05
_CARRIED: Final = "The rank test does not bear this out: a few seeds carry the mean."


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One paragraph on one arm.

    Args:
        arm: The arm's label.
        outcome: Against the baseline.
        headline: The outcome in a few words.
        text: Failures, difference, control and caveats, one paragraph.
    """

    arm: str
    outcome: Outcome
    headline: str
    text: str


def verdicts(cell: CellSummary) -> tuple[Verdict, ...]:
    """Say what each recipe did in one cell.

    Gain and harm are said only when the interval of the paired difference excludes 0 and there
    are at least six pairs. A recipe that beats the baseline is told apart from its random control.

    Args:
        cell: The cell's numbers.

    Returns:
        One verdict for each arm that is neither the baseline nor the control of an arm beside it.
    """
    return tuple(
        _verdict(cell, arm)
        for arm in cell.arms
        if arm.label != cell.baseline and (arm.replays is None or arm.replays == cell.baseline)
    )


def standing(study: StudySummary) -> str:
    """Say how complete a study is.

    Args:
        study: The whole study.

    Returns:
        One or two sentences.
    """
    if not study.missing:
        return f"Complete: all {wording.count(study.expected, 'trial')} of the study ended."
    return (
        f"Incomplete: {study.missing} of {wording.count(study.expected, 'trial')} are missing. "
        "What follows is what exists so far; every number may still change."
    )


def caution(study: StudySummary) -> str:
    """Say how many comparisons were made, and what that means for single ones.

    Args:
        study: The whole study.

    Returns:
        One or two sentences; empty below two comparisons.
    """
    if study.comparisons < 2:
        return ""
    return (
        f"This page makes {study.comparisons} comparisons. Intervals and p-values are those of "
        "each comparison alone, not corrected for their number: by chance, about one in twenty "
        "true zeros lies outside its 95 % interval."
    )


def _verdict(cell: CellSummary, arm: ArmNumbers) -> Verdict:
    comparison = cell.comparison(arm.label, cell.baseline)
    if comparison is None:  # pragma: no cover - `summarise` compares every arm with the baseline
        raise AssertionError(arm.label)
    sentences = [
        _failures(comparison),
        _difference(comparison),
        *_controls(cell, arm),
        *_caveats(arm, comparison),
    ]
    return Verdict(
        arm=arm.label,
        outcome=comparison.outcome,
        headline=_HEADLINES[comparison.outcome],
        text=" ".join(sentence for sentence in sentences if sentence),
    )


def _failures(comparison: Comparison) -> str:
    numbers = comparison.numbers
    if not numbers.both:
        return f"No seed has ended in both {comparison.arm} and {comparison.versus} yet."
    without = numbers.failed_b_only + numbers.failed_both
    under = numbers.failed_a_only + numbers.failed_both
    if not without and not under:
        return f"Of {wording.count(numbers.both, 'seed')}, none failed with or without it."
    test = (
        f" (exact McNemar {wording.equals_p(numbers.mcnemar_p)})"
        if numbers.mcnemar_p is not None
        else ""
    )
    return (
        f"{without} of {wording.count(numbers.both, 'seed')} failed under {comparison.versus}, "
        f"{under} under {comparison.arm}{test}."
    )


def _difference(comparison: Comparison) -> str:
    numbers = comparison.numbers
    if numbers.mean_difference is None:
        return ""
    text = (
        f"Mean test accuracy {wording.percent(numbers.mean_b)} % under {comparison.versus}, "
        f"{wording.percent(numbers.mean_a)} % under {comparison.arm}: a difference of "
        f"{wording.points(numbers.mean_difference)} points {_brackets(comparison)}"
    )
    if numbers.wilcoxon_p is not None:
        told = f"{text}, Wilcoxon {wording.equals_p(numbers.wilcoxon_p)}."
        carried = comparison.outcome in {"gain", "harm"} and numbers.wilcoxon_p > _DOUBT
        return f"{told} {_CARRIED}" if carried else told
    return f"{text}; fewer than {FEWEST_PAIRS} pairs differ, so that no rank test is given."


def _brackets(comparison: Comparison) -> str:
    numbers = comparison.numbers
    pairs = f"n = {wording.count(numbers.n, 'pair')}"
    if numbers.low is None:
        return f"[no interval; {pairs}]"
    ends = wording.interval(numbers.low, numbers.high)
    return f"[{100 * numbers.confidence:.0f} % CI {ends}; {pairs}]"


def _controls(cell: CellSummary, arm: ArmNumbers) -> list[str]:
    found = [
        comparison
        for comparison in cell.comparisons
        if comparison.role == "control" and comparison.arm == arm.label
    ]
    if not found and arm.recipe not in {"none", "restart"}:
        return [
            "It has no random control of its own: whether its choice of filters matters is not shown."
        ]
    sentences: list[str] = []
    for comparison in found:
        numbers = comparison.numbers
        if numbers.mean_difference is None:
            sentences.append(f"Its control, {comparison.versus}, has no pairs with it yet.")
            continue
        failed = numbers.failed_b_only + numbers.failed_both
        against = wording.points(numbers.mean_difference)
        sentences.append(
            f"Its control, {comparison.versus}, renews as many filters in the same layers at the "
            f"same steps, picked at random: {wording.percent(numbers.mean_b)} %, {failed} of "
            f"{wording.count(numbers.both, 'seed')} failed. {arm.label} minus {comparison.versus}: "
            f"{against} points {_brackets(comparison)}{_meaning(comparison, arm)}"
        )
    return sentences


def _meaning(comparison: Comparison, arm: ArmNumbers) -> str:
    if not arm.trials_renewed:
        return "."
    return {
        "gain": ", so the choice of filters matters.",
        "harm": ", so picking filters at random does better.",
        "unclear": ", so the choice of filters is not shown to matter.",
        "too few": ", too few pairs to tell them apart.",
    }[comparison.outcome]


def _caveats(arm: ArmNumbers, comparison: Comparison) -> list[str]:
    found: list[str] = []
    if arm.recipe not in {"none", "restart"} and not arm.trials_renewed and arm.accuracy.n:
        found.append("It renewed no filter in any trial.")
    if arm.diverged:
        found.append(
            f"{wording.count(arm.diverged, 'trial')} of {arm.label} became non-finite: failed, "
            "with the accuracy that was measured."
        )
    crashed = comparison.numbers.crashed
    if crashed:
        found.append(
            f"{wording.count(crashed, 'seed')} crashed in one of the two: counted as failed, "
            "in no mean."
        )
    unpaired = comparison.numbers.unpaired
    if unpaired:
        found.append(f"{wording.count(unpaired, 'seed')} ended in one of the two only: left out.")
    return found
