"""What the networks of an arm reach that trains several: each of them, and all of them as one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Final

from regrow.study.grouped import grouped
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import deviation_of, mean_of
from regrow.study.views import Partner

WAYS: Final = ("best", "mean weights", "ensemble")
"""How several networks are one, in the order of the tables."""


@dataclass(frozen=True, kw_only=True)
class PartnerNumbers:
    """One network of an arm over the seeds, after the last epoch."""

    number: int  # its number, from 0
    # Its learning rates before any schedule: one, unless the trials differ.
    rates: tuple[float, ...]
    n: int  # trials with its accuracy
    mean: float  # mean test accuracy
    std: float | None  # standard deviation with ddof = 1; None below two trials


@dataclass(frozen=True, kw_only=True)
class Several:
    """An arm that trains several networks, in one cell; accuracies are of the test set after the last epoch."""

    label: str  # the arm's label
    networks: int  # how many a trial trains
    # Images by whose accuracy the best network is picked; 0: by the training loss of the last epoch.
    held_out: int
    n: int  # trials with an accuracy of every network
    mean: float | None  # mean over the networks of a trial, then over the trials
    # Largest minus smallest accuracy of a trial's networks, mean over the trials.
    spread: float | None
    partners: tuple[PartnerNumbers, ...]  # each network
    # For each of `WAYS` that was measured, seed to test accuracy.
    together: Mapping[str, Mapping[int, float]]

    def name(self, way: str) -> str:
        """What an arm's networks as one are called in tables."""
        return f"{self.label}: {way} of {self.networks}"

    def mean_of(self, way: str) -> float | None:
        """The mean test accuracy of the networks as one."""
        return mean_of(self.together.get(way, {}).values())


def several(results: Results, cell: str) -> tuple[Several, ...]:
    """The arms of one cell whose several networks were recorded, in the study's order."""
    found: list[Several] = []
    for label, arm in results.study.by_cell[cell].items():
        ended = results.of_arm(cell, label, results.partners)
        if not ended:
            continue
        last = [_at_the_end(trial, partners) for trial, partners in ended]
        whole = [list(own.values()) for own in last if len(own) == arm.networks]
        found.append(
            Several(
                label=label,
                networks=arm.networks,
                held_out=arm.held_out,
                n=len(whole),
                mean=mean_of(map(statistics.fmean, whole)),
                spread=mean_of(max(own) - min(own) for own in whole),
                partners=_partners(ended),
                together=_together(results, cell, label),
            )
        )
    return tuple(found)


def picked(arms: Sequence[Several]) -> str:
    """Say by what the best networks were picked, never by the test set; empty where no best one was measured."""
    by = {
        own.label: f"accuracy on {own.held_out} held-out images"
        if own.held_out
        else "training loss in the last epoch"
        for own in arms
        if "best" in own.together
    }
    if not by:
        return ""
    ways = list(dict.fromkeys(by.values()))
    told = [
        way if len(ways) == 1 else f"{way} ({', '.join(own for own in by if by[own] == way)})"
        for way in ways
    ]
    return f"Best: the network picked by its {' or its '.join(told)}, never by the test set. "


def _at_the_end(trial: Trial, partners: tuple[Partner, ...]) -> dict[int, float]:
    """The accuracy of each network of a trial after its last epoch."""
    last = trial.epochs or 0
    return {
        partner.number: partner.accuracies[last]
        for partner in partners
        if last in partner.accuracies
    }


def _partners(trials: Sequence[tuple[Trial, tuple[Partner, ...]]]) -> tuple[PartnerNumbers, ...]:
    networks = grouped((one for _, own in trials for one in own), attrgetter("number"))
    ends = grouped(
        (end for trial, own in trials for end in _at_the_end(trial, own).items()), itemgetter(0)
    )
    return tuple(
        PartnerNumbers(
            number=number,
            rates=tuple(dict.fromkeys(network.lr for network in networks[number])),
            n=len(known),
            mean=statistics.fmean(accuracy for _, accuracy in known),
            std=deviation_of(accuracy for _, accuracy in known),
        )
        for number, known in sorted(ends.items())
    )


def _together(results: Results, cell: str, label: str) -> dict[str, dict[int, float]]:
    """Way, of those that were measured, and seed to the accuracy."""
    known = results.of_arm(cell, label, results.together)
    every = {way: {t.seed: own[way] for t, own in known if way in own} for way in WAYS}
    return {way: found for way, found in every.items() if found}
