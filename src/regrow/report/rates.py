"""Each arm at its own learning rate, chosen on one half of the seeds and judged on the other, both ways round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regrow.report.compared import among, compare, majority_share, reached, share_of
from regrow.report.findings import Comparison, Versus
from regrow.report.judged import judged_by
from regrow.report.sweep.panels import halves
from regrow.report.task_numbers import fresh_arm
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import mean_of

RATE: Final = "train.lr"  # the key of the grid that is a learning rate


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

    A rate with less than half as many trials as the fullest is not chosen; of equal ones the smaller.
    """
    rates = rates_of(results)
    if not rates:
        return ()
    chosen, own = _chosen(results), judged_trials(results)
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
        found.append(
            AtItsRate(
                label=label,
                chosen=(even, odd),
                at_the_end=bool({even, odd} & {min(rates), max(rates)}),
                before=_mean(results, _halves_at(results, label, (even, odd))),
                after=means.get(label),
                kept=share_of(gap, versus),
                versus=versus,
                chance=minus(label, picked, _halves_at(results, picked, (odd, even)), "control"),
                behind=minus(label, first, own.get(first, {}), "baseline"),
            )
        )
    return tuple(found)


def judged_trials(results: Results) -> dict[str, dict[int, Trial]]:
    """Every arm that has any to its trials by seed, each at the rate that the other half of the seeds chose for it."""
    chosen = _chosen(results).items()
    found = {label: _halves_at(results, label, (odd, even)) for label, (even, odd) in chosen}
    return {label: trials for label, trials in found.items() if trials}


def _chosen(results: Results) -> dict[str, tuple[float | None, float | None]]:
    """The rate that the seeds at even places choose for each arm, and the one of those at odd places."""
    even, odd = halves(results.study.seeds).values()
    return {
        arm.label: (_best(results, arm.label, even), _best(results, arm.label, odd))
        for arm in results.study.arms
    }


def _halves_at(
    results: Results, label: str, chosen: tuple[float | None, float | None]
) -> dict[int, Trial]:
    """The trials of the seeds at even places at the first rate, and of those at odd places at the second."""
    rates, found = rates_of(results), dict[int, Trial]()
    for part, rate in zip(halves(results.study.seeds).values(), chosen, strict=True):
        if rate is not None:
            found |= among(results, rates[rate], label, part)
    return found


def _best(results: Results, label: str, seeds: Sequence[int]) -> float | None:
    unit = judged_by(results.study.stream).unit
    trials = {rate: among(results, cell, label, seeds) for rate, cell in rates_of(results).items()}
    fullest = max(map(len, trials.values()), default=0)
    means = {
        rate: mean
        for rate, own in trials.items()
        if 2 * len(own) >= fullest and (mean := _mean(results, own)) is not None
    }
    return max(means, key=lambda rate: (unit.worth(round(means[rate], 12)), -rate), default=None)


def _mean(results: Results, trials: Mapping[int, Trial]) -> float | None:
    return mean_of(map(judged_by(results.study.stream).of, trials.values()))
