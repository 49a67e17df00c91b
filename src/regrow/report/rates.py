"""Each arm at its own learning rate, chosen on one half of the seeds and judged on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regrow.report.compared import compare, majority_share, reached
from regrow.report.findings import Comparison
from regrow.report.sweep.panels import halves
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import mean_of

RATE: Final = "train.lr"
"""The key of the grid that is a learning rate."""


@dataclass(frozen=True, kw_only=True)
class AtItsRate:
    """One arm at its best rate.

    Args:
        label: The arm's label.
        cell: The cell.
        rate: Its learning rate.
        at_the_end: Whether no larger or no smaller one was tried.
        other: What the other half of the seeds would have chosen; None where it has nothing.
        before: Mean accuracy over the seeds that chose.
        after: Mean accuracy over the others.
        versus: Compared with the baseline at its own best rate, over the seeds that did not choose; None for it itself.
    """

    label: str
    cell: str
    rate: float
    at_the_end: bool
    other: float | None
    before: float | None
    after: float | None
    versus: Comparison | None


def rates_of(results: Results) -> Mapping[float, str]:
    """Learning rate to cell, where a stream is studied at several and nothing else is varied; from the smallest."""
    if results.study.stream is None or list(results.study.grid) != [RATE]:
        return {}
    values = sorted(results.study.grid[RATE])
    return {float(value): f"{RATE}={value}" for value in values}


def at_their_rates(results: Results) -> tuple[AtItsRate, ...]:
    """Every arm at the rate that the seeds at even places choose for it; none where `rates_of` has none.

    Edge cases:
        A rate with less than half as many trials as the fullest is not chosen. Of equal ones the smaller.
    """
    rates = rates_of(results)
    if not rates:
        return ()
    parts = halves(results.study.seeds)
    choosing, judging = parts["even"], parts["odd"]
    labels = [arm.label for arm in results.study.arms]
    best = {label: _best(results, label, rates, choosing) for label in labels}
    base_rate = best[results.study.baseline]
    found: list[AtItsRate] = []
    for label, rate in best.items():
        if rate is None:
            continue
        own = _of(results, label, rates[rate], judging)
        versus = None
        if label != results.study.baseline and base_rate is not None:
            baseline = results.study.baseline
            plain = _of(results, baseline, rates[base_rate], judging)
            share = majority_share(results, rates[rate])
            versus = compare(
                reached(label, own), reached(baseline, plain), role="baseline", share=share
            )
        found.append(
            AtItsRate(
                label=label,
                cell=rates[rate],
                rate=rate,
                at_the_end=rate in {min(rates), max(rates)},
                other=_best(results, label, rates, judging),
                before=_mean(_of(results, label, rates[rate], choosing)),
                after=_mean(own),
                versus=versus,
            )
        )
    return tuple(found)


def _best(
    results: Results, label: str, rates: Mapping[float, str], seeds: Sequence[int]
) -> float | None:
    trials = {rate: _of(results, label, cell, seeds) for rate, cell in rates.items()}
    fullest = max(map(len, trials.values()))
    means = {
        rate: mean
        for rate, own in trials.items()
        if 2 * len(own) >= fullest and (mean := _mean(own)) is not None
    }
    return max(means, key=lambda rate: (round(means[rate], 12), -rate), default=None)


def _of(results: Results, label: str, cell: str, seeds: Sequence[int]) -> dict[int, Trial]:
    every = results.arm(cell, label)
    return {seed: every[seed] for seed in seeds if seed in every}


def _mean(trials: Mapping[int, Trial]) -> float | None:
    return mean_of(trial.test_accuracy for trial in trials.values())
