"""What the numbers allow to be said, in words: one paragraph a recipe, written by rule.

Called by `report/write`, the page and the terminal with a summary's cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison, Outcome, StudySummary
from regrow.report.judged import Judged
from regrow.report.partner_verdict import networks_told, shares_told
from regrow.report.sentences import against, brackets, meanings
from regrow.study.statistics import FEWEST_PAIRS

_REPLAYED: Final = (
    "Its control, {}, renews as many filters in the same layers at the same steps, picked at random"
)
_REDRAWN: Final = (
    "The control {} renews as many filters in the same layers at the same steps, but picked at random and redrawn at "
    "once, with no phase without them"
)
_INVERTED: Final = "Its inverted control, {}, renews the best filters in the place of the worst"
_RANKED: Final = (
    "Its control for the choice, {}, has the same settings and ranks the filters at random"
)

_CHOICE: Final = meanings("the choice of filters", "picking filters at random does better")
_TOGETHER: Final = meanings(
    "the choice, the phase and the new directions together",
    "redrawing at random and at once does better",
    several=True,
)
_WORST: Final = meanings("what it goes by", "renewing the best filters does better")
_NO_CONTROL: Final = (
    "It has no random control of its own: whether its choice of filters matters is not shown."
)
_NO_CHOICE: Final = (
    "Whether the choice alone matters is not shown: it takes an arm with the same settings and "
    'rank_by = "random".'
)

_TESTED: Final = frozenset({"method", "control"})
"""Arms with a recipe; the others are controls themselves."""

_DOUBT: Final = 0.05
_CARRIED: Final = "The rank test does not bear this out: a few seeds carry the mean."


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One paragraph on one arm."""

    arm: str  # the arm's label
    outcome: Outcome  # against the baseline
    headline: str  # the outcome in a few words
    text: str  # failures, difference, control and caveats, one paragraph


def verdicts(cell: CellSummary) -> tuple[Verdict, ...]:
    """Say what each recipe did in one cell: of each arm but the baseline and the controls of arms beside it.

    A recipe is told apart from the same with a ranking at random, which differs in the choice of filters alone, and
    from an arm that replays its renewals on filters picked at random, as good a control only where none leave.
    """
    return tuple(
        _verdict(cell, arm)
        for arm in cell.arms
        if arm.label != cell.baseline and (arm.replays is None or arm.replays == cell.baseline)
    )


def standing(study: StudySummary) -> str:
    """Say how complete a study is."""
    if not study.missing:
        return f"Complete: all {wording.count(study.expected, 'trial')} of the study ended."
    return (
        f"Incomplete: {study.missing} of {wording.count(study.expected, 'trial')} are missing. "
        "What follows is what exists so far; every number may still change."
    )


def caution(study: StudySummary) -> str:
    """Say how many comparisons were made, and what that means for single ones."""
    if study.comparisons < 2:
        return ""
    return (
        f"This page makes {study.comparisons} comparisons. Intervals and p-values are those of "
        "each comparison alone, not corrected for their number: by chance, about one in twenty "
        "true zeros lies outside its 95 % interval."
    )


def _verdict(cell: CellSummary, arm: ArmNumbers) -> Verdict:
    comparison = cell.compared(arm.label, cell.baseline)
    sentences = [
        _failures(comparison),
        _difference(comparison, cell.judged),
        *_controls(cell, arm),
        *networks_told(cell, arm),
        *_caveats(arm, comparison),
    ]
    return Verdict(
        arm=arm.label,
        outcome=comparison.outcome,
        headline=wording.HEADLINES[comparison.outcome],
        text=" ".join(sentence for sentence in sentences if sentence),
    )


def _failures(comparison: Comparison) -> str:
    numbers = comparison.numbers
    if not numbers.both:
        return f"No seed has ended in both {comparison.arm} and {comparison.versus} yet."
    if not numbers.failed_a and not numbers.failed_b:
        return f"Of {wording.count(numbers.both, 'seed')}, none failed with or without it."
    test = (
        f" (exact McNemar {wording.equals_p(numbers.mcnemar_p)})"
        if numbers.mcnemar_p is not None
        else ""
    )
    return (
        f"{numbers.failed_b} of {wording.count(numbers.both, 'seed')} failed under {comparison.versus}, "
        f"{numbers.failed_a} under {comparison.arm}{test}."
    )


def _difference(comparison: Comparison, judged: Judged) -> str:
    numbers = comparison.numbers
    if numbers.mean_difference is None:
        return ""
    unit = judged.unit
    what = (
        judged.title if unit.lower else f"Mean {judged.accuracy}"
    )  # an error is a mean by its name
    text = (
        f"{what} {unit.value(numbers.mean_b)}{unit.sign} under {comparison.versus}, "
        f"{unit.value(numbers.mean_a)}{unit.sign} under {comparison.arm}: a difference of "
        f"{unit.difference(numbers.mean_difference)}{unit.apart} {brackets(comparison)}"
    )
    if numbers.wilcoxon_p is not None:
        told = f"{text}, Wilcoxon {wording.equals_p(numbers.wilcoxon_p)}."
        carried = comparison.outcome in {"gain", "harm"} and numbers.wilcoxon_p > _DOUBT
        return f"{told} {_CARRIED}" if carried else told
    return f"{text}; fewer than {FEWEST_PAIRS} pairs differ, so that no rank test is given."


def _controls(cell: CellSummary, arm: ArmNumbers) -> list[str]:
    if arm.role not in _TESTED:
        return []
    if arm.networks > 1:
        return shares_told(cell, arm)
    if arm.neutral:
        return ["It ranks its filters at random: a control, not a choice."]
    told: list[str] = []
    versus = arm.neutral_control
    choice = None if versus is None else cell.comparison(arm.label, versus)
    if choice is not None:
        told.append(_told(choice, arm, what=_RANKED, meanings=_CHOICE))
    at_random = choice is not None
    for replay in cell.comparisons:
        other = cell.arm(replay.versus)
        # One that never acts is plain training: that it is, a comparison with it does not say.
        if replay.arm != arm.label or other.replays != arm.label or other.role == "never":
            continue
        if other.role == "inverted":
            told.append(_told(replay, arm, what=_INVERTED, meanings=_WORST))
            continue
        at_random = True
        if arm.trials_dropped:
            told.append(_told(replay, arm, what=_REDRAWN, meanings=_TOGETHER))
            told += [] if choice else [_NO_CHOICE]
        else:
            told.append(_told(replay, arm, what=_REPLAYED, meanings=_CHOICE))
    return told if at_random else [*told, _NO_CONTROL]


def _told(
    comparison: Comparison, arm: ArmNumbers, *, what: str, meanings: Mapping[Outcome, str]
) -> str:
    """What a control for the filters did; it says nothing of an arm that renewed none."""
    return against(
        comparison,
        what=what.format(comparison.versus),
        meanings=meanings if arm.trials_renewed else None,
    )


def _caveats(arm: ArmNumbers, comparison: Comparison) -> list[str]:
    found: list[str] = []
    renews = arm.role in _TESTED and arm.networks == 1
    if renews and not arm.trials_renewed and arm.accuracy.n:
        found.append("It renewed no filter in any trial.")
    if arm.diverged:
        found.append(
            f"{wording.count(arm.diverged, 'trial')} of {arm.label} became non-finite: failed, "
            f"with the {comparison.unit.name} that was measured."
        )
    if arm.resting:
        found.append(
            f"{wording.count(arm.trials_resting, 'trial')} of {arm.label} ended with filters out of the network "
            f"({arm.resting} in all): the accuracy is that of what was left."
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
