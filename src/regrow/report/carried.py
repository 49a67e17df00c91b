"""What the weights of each arm carry at the end: shares of invalid filters, and the sum of the layers' entropies."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from regrow.study.results import Results
from regrow.study.views import THRESHOLDS, Carried


@dataclass(frozen=True, kw_only=True)
class CarriedNumbers:
    """One arm in one cell, after the last epoch: means over the networks of a trial, then over the trials.

    Args:
        label: The arm's label.
        n: Trials that were looked at.
        layers: Layers that were looked at.
        filters: Filters of them all.
        invalid: Share of filters with an l1 norm below each of the thresholds, as (threshold, share).
        entropy: Sum of the layers' entropies, in nats; None where one is not finite in every trial.
        entropy_std: Its standard deviation over the trials, with ddof = 1; None below two.
    """

    label: str
    n: int
    layers: int
    filters: int
    invalid: tuple[tuple[str, float], ...]
    entropy: float | None
    entropy_std: float | None


def carried(results: Results, cell: str) -> tuple[CarriedNumbers, ...]:
    """What the weights of each arm of a cell carry after the last epoch that was looked at.

    Returns:
        One entry an arm, in the study's order; arms that were not looked at are absent.
    """
    found: list[CarriedNumbers] = []
    for arm in results.study.arms:
        trials = [
            trial.trial
            for trial in results.arm(cell, arm.label).values()
            if trial.trial in results.carried
        ]
        if not trials:
            continue
        ends = [at_the_end(results.carried[trial]) for trial in trials]
        entropies = [mean for own in ends if (mean := mean_entropy(own)) is not None]
        layers = results.layers[trials[0]]
        found.append(
            CarriedNumbers(
                label=arm.label,
                n=len(trials),
                layers=len(layers),
                filters=sum(layers.values()),
                invalid=tuple(
                    (threshold, statistics.fmean(mean_invalid(own, place) for own in ends))
                    for place, threshold in enumerate(THRESHOLDS)
                ),
                entropy=statistics.fmean(entropies) if entropies else None,
                entropy_std=statistics.stdev(entropies) if len(entropies) > 1 else None,
            )
        )
    return tuple(found)


def at_the_end(records: Sequence[Carried]) -> list[Carried]:
    """The networks of a trial after its last epoch."""
    last = max(record.epoch for record in records)
    return [record for record in records if record.epoch == last]


def mean_invalid(records: Sequence[Carried], place: int) -> float:
    """Share of invalid filters, mean over networks."""
    return statistics.fmean(record.invalid[place] for record in records)


def mean_entropy(records: Sequence[Carried]) -> float | None:
    """Sum of the layers' entropies, mean over the networks in which all of them are finite."""
    known = [record.entropy for record in records if record.entropy is not None]
    return statistics.fmean(known) if known else None
