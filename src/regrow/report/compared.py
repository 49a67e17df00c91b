"""Two arms of one cell, compared seed by seed by the same rule everywhere."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from regrow.errors import StoreError
from regrow.report.findings import Comparison, ErrorComparison, Versus
from regrow.report.judged import Judged, judged_by
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import paired

_PLAIN: Final = judged_by(None)


class Reached(NamedTuple):
    """What is compared: its accuracies by seed, or errors, of which less is better; None where it crashed."""

    name: str
    accuracies: Mapping[int, float | None]
    diverged: tuple[int, ...]
    lower: bool = False


def reached(label: str, trials: Mapping[int, Trial], judged: Judged = _PLAIN) -> Reached:
    """What the trials of one arm reached, by their seeds."""
    return Reached(
        label,
        {seed: judged.of(trial) for seed, trial in trials.items()},
        tuple(seed for seed, trial in trials.items() if trial.status == "diverged"),
        judged.unit.lower,
    )


def compare(arm: Reached, versus: Reached, *, role: Versus, share: float | None) -> Comparison:
    """The first minus the second; `share` is that of the commonest class, None where all trials crashed."""
    numbers = paired(
        arm.accuracies,
        versus.accuracies,
        majority_share=share or 0.0,
        diverged_a=arm.diverged,
        diverged_b=versus.diverged,
        lower=arm.lower,
    )
    kind = ErrorComparison if arm.lower else Comparison
    return kind(arm=arm.name, versus=versus.name, role=role, numbers=numbers)


class Against(NamedTuple):
    """What an arm is compared with, and what that is to it."""

    label: str
    role: Versus


def between(
    results: Results, cell: str, arm: str, against: Against, *, seeds: Collection[int] | None = None
) -> Comparison:
    """An arm against another in one cell, over some seeds or over all."""

    def of(label: str) -> Reached:
        return reached(label, among(results, cell, label, seeds), judged_by(results.study.stream))

    share = majority_share(results, cell)
    return compare(of(arm), of(against.label), role=against.role, share=share)


def among(
    results: Results, cell: str, label: str, seeds: Collection[int] | None
) -> dict[int, Trial]:
    """The trials of one arm in one cell, of some seeds or of all."""
    trials = results.arm(cell, label)
    return {seed: trial for seed, trial in trials.items() if seeds is None or seed in seeds}


def share_of(gap: Comparison | None, own: Comparison | None) -> float | None:
    """The share of a gap that an arm closes; None where the gap is not shown to be one."""
    if own is None or gap is None or not gap.unit.is_better(gap.numbers.low, gap.numbers.high):
        return None
    part, whole = own.numbers.mean_difference, gap.numbers.mean_difference
    return None if part is None or whole is None else part / whole


def majority_share(results: Results, cell: str) -> float | None:
    """The share of the commonest class in the test set of one cell."""
    shares = {
        trial.majority_share
        for trial in results.trials_in(cell)
        if trial.majority_share is not None
    }
    if not shares:
        return None
    if not math.isclose(min(shares), max(shares), abs_tol=1e-9):
        raise StoreError(
            f"{results.folder}: the trials of one cell must share one test set, and those of "
            f"'{cell}' have majority shares from {min(shares)} to {max(shares)}"
        )
    return min(shares)
