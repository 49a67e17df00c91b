"""What the numbers allow to be said of arms that train several networks: shares, averaging, price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from regrow.report import wording
from regrow.report.findings import ArmNumbers, CellSummary, Comparison
from regrow.report.sentences import against, difference, meanings

_AVERAGED: Final = (
    "Its control for the shares, {}, has the same settings with amplitude = 0: every layer is averaged half and half "
    "with the partner's, whatever it carries"
)
_WEIGHING: Final = meanings(
    "weighing by information",
    "plain averaging does better",
    unclear=": averaging alone does as well",
)
_AS_MANY: Final = "{} trains {} networks apart, at the same price; their mean"
_MEETING: Final = meanings("that networks meet", "networks that never meet do better")
_AVERAGES: Final = (
    "Its networks average half and half, whatever they carry: a control, not a weighing."
)
_NO_AVERAGING: Final = (
    "Whether weighing by information matters, or averaging alone, is not shown: it takes an arm with the same settings "
    "and amplitude = 0."
)
_NEVER_MEET: Final = (
    "Its networks never meet: a control. Their mean is what one network trained in this way reaches alone, no gain of "
    "having several"
)
_NO_APART: Final = (
    "Whether it matters that networks meet is not shown: it takes an arm that trains as many networks apart, in the "
    "same way."
)


def shares_told(cell: CellSummary, arm: ArmNumbers) -> list[str]:
    """Say what an arm's controls say of its grafts: how much is the weighing, how much the averaging."""
    told: list[str] = []
    if arm.neutral:
        told.append(_AVERAGES)
    elif arm.neutral_control is None:
        told.append(_NO_AVERAGING)
    else:
        told += _weighing(cell, arm, arm.neutral_control)
    if arm.apart_control is None:
        told.append(_NO_APART)
    else:
        told += _apart(cell, arm, arm.apart_control)
    if not arm.trials_grafted and arm.accuracy.n:
        told.append("Its networks took nothing from each other in any trial.")
    return told


def networks_told(cell: CellSummary, arm: ArmNumbers) -> list[str]:
    """Say what a trial of an arm costs where that is not what the plain arm's costs."""
    told: list[str] = []
    if arm.role == "apart":
        pairs = [(name, cell.baseline) for name in _as_one(cell, arm.label)]
        told.append(f"{'. '.join([_NEVER_MEET, *_all_compared(cell, pairs)])}.")
    if arm.networks > 1:
        told.append(f"Its accuracy is the mean over the {arm.networks} networks of a trial.")
    if arm.relative != 1.0:
        taught = f", {arm.teachers} epochs of teachers among them" if arm.teachers else ""
        told.append(
            f"A trial trains {wording.times(arm.relative)} the epochs of {cell.baseline}{taught}."
        )
    return told


def _weighing(cell: CellSummary, arm: ArmNumbers, versus: str) -> list[str]:
    control = cell.compared(arm.label, versus)
    told = [against(control, what=_AVERAGED.format(versus), meanings=_WEIGHING)]
    whole = cell.comparison(arm.label, cell.baseline)
    averaging = cell.comparison(versus, cell.baseline)
    parts = [
        None if found is None else found.numbers.mean_difference
        for found in (whole, control, averaging)
    ]
    same = {found.numbers.n for found in (whole, control, averaging) if found is not None}
    if None not in parts and len(same) == 1 and versus != cell.baseline:
        all_of_it, weighing, plain = (wording.points(part) for part in parts)
        told.append(
            f"Of the {all_of_it} points from {cell.baseline}, {weighing} come with the weighing and {plain} with "
            "averaging alone."
        )
    return told


def _apart(cell: CellSummary, arm: ArmNumbers, versus: str) -> list[str]:
    mean = cell.compared(arm.label, versus)
    told = [against(mean, what=_AS_MANY.format(versus, arm.networks), meanings=_MEETING)]
    names = _as_one(cell, versus)
    joint = _all_compared(cell, [(arm.label, name) for name in names])
    return [*told, f"{'; '.join(joint)}."] if joint else told


def _as_one(cell: CellSummary, label: str) -> list[str]:
    """What the networks of an arm as one are called: those whose price is told beside the mean."""
    own = cell.joined(label)
    return [] if own is None else [own.name(way) for way in ("mean weights", "ensemble")]


def _all_compared(cell: CellSummary, pairs: Sequence[tuple[str, str]]) -> list[str]:
    found = [cell.comparison(first, second) for first, second in pairs]
    return [
        _compared(each)
        for each in found
        if each is not None and each.numbers.mean_difference is not None
    ]


def _compared(comparison: Comparison) -> str:
    """A comparison with networks as one, and what may be said of it."""
    meant = {**wording.HEADLINES, "gain": "better", "harm": "worse"}[comparison.outcome]
    return f"{difference(comparison)}, {meant}"
