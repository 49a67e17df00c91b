"""What the weights of each arm carry at the end: shares of invalid filters, and the sum of the layers' entropies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from regrow.study.results import Results
from regrow.study.statistics import deviation_of, mean_of
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
        known = results.of_arm(cell, arm.label, results.carried)
        if not known:
            continue
        ends = [_at_the_end(records) for _, records in known]
        entropies = [mean_of(network.entropy for network in own) for own in ends]
        layers = results.layers[known[0][0].trial]
        found.append(
            CarriedNumbers(
                label=arm.label,
                n=len(known),
                layers=len(layers),
                filters=sum(layers.values()),
                invalid=tuple(
                    (threshold, fmean(mean_invalid(own, place) for own in ends))
                    for place, threshold in enumerate(THRESHOLDS)
                ),
                entropy=mean_of(entropies),
                entropy_std=deviation_of(entropies),
            )
        )
    return tuple(found)


def _at_the_end(records: Sequence[Carried]) -> list[Carried]:
    """The networks of a trial after its last epoch."""
    last = max(record.epoch for record in records)
    return [record for record in records if record.epoch == last]


def mean_invalid(records: Sequence[Carried], place: int) -> float:
    """Share of invalid filters, mean over networks."""
    return fmean(record.invalid[place] for record in records)
