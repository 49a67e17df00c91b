"""Each arm at its own learning rate, chosen on one half of the seeds and judged on the other, both ways round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regrow.report.compared import compare, majority_share, reached
from regrow.report.findings import Comparison, Versus
from regrow.report.judged import judged_by
from regrow.report.sweep.panels import halves
from regrow.report.task_numbers import fresh_arm
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import mean_of

RATE: Final = "train.lr"
"""The key of the grid that is a learning rate."""


@dataclass(frozen=True, kw_only=True)
class AtItsRate:
    """One arm at its best rates: each half of the seeds is judged at the rate that the other half chose."""

    label: str  # the arm's label
    # The rate that the seeds at even places chose, then that of those at odd places; None where a half has nothing.
    chosen: tuple[float | None, float | None]
    at_the_end: bool  # whether no larger or no smaller one than one of them was tried
    # Mean accuracy (an error where numbers are learnt) over the seeds that chose, which the choice flatters.
    before: float | None
    after: float | None  # mean accuracy over all seeds, each at the rate that the other half chose
    # Of what a fresh network for each task is better than plain training, both at their own rates, the share that
    # the arm is better; None where a fresh network is not shown to be better.
    kept: float | None
    versus: Comparison | None  # compared with the baseline at its own rates; None for it itself
    # Compared with the arm that picks at random, at the rates of this one; None where there is none.
    chance: Comparison | None
    # Compared with the arm that has the best mean, at its own rates; None for it itself.
    behind: Comparison | None


def rates_of(results: Results) -> Mapping[float, str]:
    """Learning rate to cell, where a stream is studied at several and nothing else is varied; from the smallest."""
    if results.study.stream is None or list(results.study.grid) != [RATE]:
        return {}
    values = sorted(results.study.grid[RATE])
    return {float(value): f"{RATE}={value}" for value in values}


def at_their_rates(results: Results) -> tuple[AtItsRate, ...]:
    """Every arm, each seed at the rate that the other half of the seeds chose; none where `rates_of` has none.

    Edge cases:
        A rate with less than half as many trials as the fullest is not chosen. Of equal ones the smaller. With one
        seed nothing can be judged.
    """
    rates = rates_of(results)
    if not rates:
        return ()
    parts = tuple(halves(results.study.seeds).values())
    chosen = _chosen(results)
    own = _judged_by(results, chosen)
    baseline, fresh = results.study.baseline, fresh_arm(results)
    share = majority_share(results, next(iter(rates.values())))
    judged = judged_by(results.study.stream)

    def minus(
        label: str, name: str, trials: Mapping[int, Trial], role: Versus
    ) -> Comparison | None:
        """Nothing where there is nothing to compare with, and of an arm with itself."""
        if label == name or not trials:
            return None
        tested, other = reached(label, own[label], judged), reached(name, trials, judged)
        return compare(tested, other, role=role, share=share)

    plain = own.get(baseline, {})
    means = {label: mean for label in own if (mean := _mean(results, own[label])) is not None}
    first = max(means, key=lambda label: judged.unit.worth(means[label]), default="")
    gap = minus(fresh, baseline, plain, "baseline") if fresh in own else None
    found: list[AtItsRate] = []
    for label in own:
        even, odd = chosen[label]
        versus = minus(label, baseline, plain, "baseline")
        picked = next((arm for arm, tested in results.study.replays.items() if tested == label), "")
        drawn = _judged(results, picked, rates, (even, odd)) if picked else {}
        found.append(
            AtItsRate(
                label=label,
                chosen=(even, odd),
                at_the_end=bool({even, odd} & {min(rates), max(rates)}),
                before=mean_of(
                    judged.of(trial)
                    for rate, part in zip((even, odd), parts, strict=True)
                    if rate is not None
                    for trial in _of(results, label, rates[rate], part).values()
                ),
                after=means.get(label),
                kept=_share(versus, gap),
                versus=versus,
                chance=minus(label, picked, drawn, "control"),
                behind=minus(label, first, own.get(first, {}), "baseline"),
            )
        )
    return tuple(found)


def judged_trials(results: Results) -> dict[str, dict[int, Trial]]:
    """Every arm that has any to its trials by seed, each at the rate that the other half of the seeds chose for it."""
    return _judged_by(results, _chosen(results)) if rates_of(results) else {}


def _judged_by(
    results: Results, chosen: Mapping[str, Sequence[float | None]]
) -> dict[str, dict[int, Trial]]:
    rates = rates_of(results)
    found = {label: _judged(results, label, rates, own) for label, own in chosen.items()}
    return {label: trials for label, trials in found.items() if trials}


def _chosen(results: Results) -> dict[str, tuple[float | None, float | None]]:
    """The rate that the seeds at even places choose for each arm, and the one of those at odd places."""
    rates, parts = rates_of(results), halves(results.study.seeds)
    return {
        arm.label: (
            _best(results, arm.label, rates, parts["even"]),
            _best(results, arm.label, rates, parts["odd"]),
        )
        for arm in results.study.arms
    }


def _judged(
    results: Results, label: str, rates: Mapping[float, str], chosen: Sequence[float | None]
) -> dict[int, Trial]:
    """The trials of both halves, each at the rate that the other one chose."""
    found: dict[int, Trial] = {}
    for part, rate in zip(
        halves(results.study.seeds).values(), reversed(tuple(chosen)), strict=True
    ):
        if rate is not None:
            found |= _of(results, label, rates[rate], part)
    return found


def _share(own: Comparison | None, gap: Comparison | None) -> float | None:
    if own is None or gap is None or own.numbers.mean_difference is None:
        return None
    whole = gap.numbers.mean_difference
    shown = gap.unit.is_better(gap.numbers.low, gap.numbers.high)
    return own.numbers.mean_difference / whole if whole is not None and shown else None


def _best(
    results: Results, label: str, rates: Mapping[float, str], seeds: Sequence[int]
) -> float | None:
    unit = judged_by(results.study.stream).unit
    trials = {rate: _of(results, label, cell, seeds) for rate, cell in rates.items()}
    fullest = max(map(len, trials.values()))
    means = {
        rate: mean
        for rate, own in trials.items()
        if 2 * len(own) >= fullest and (mean := _mean(results, own)) is not None
    }
    return max(means, key=lambda rate: (unit.worth(round(means[rate], 12)), -rate), default=None)


def _of(results: Results, label: str, cell: str, seeds: Sequence[int]) -> dict[int, Trial]:
    every = results.arm(cell, label)
    return {seed: every[seed] for seed in seeds if seed in every}


def _mean(results: Results, trials: Mapping[int, Trial]) -> float | None:
    return mean_of(map(judged_by(results.study.stream).of, trials.values()))
