"""What trials did beside their accuracy, looked at as figures and tables need it; worked out from their records.

Held by a `study/results`, whose trials it looks at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from statistics import fmean
from typing import Any, Final, TypeVar

from regrow.study.grouped import grouped
from regrow.study.partner_records import GraftRecord, PartnerRecord, TogetherRecord
from regrow.study.records import (
    EpochRecord,
    LayerRecord,
    OverlapRecord,
    RenewalRecord,
    RestingRecord,
    WeightRecord,
)

Record = TypeVar("Record")
Seen = TypeVar("Seen")

BELOW: Final = {"below_1": "1", "below_0_1": "0.1", "below_0_01": "0.01", "below_0_001": "0.001"}
"""The l1 norm under which a filter counts as invalid, the paper's four, by the field of `WeightRecord`."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One filter's time out of the network."""

    layer: str  # module path
    filter: int  # index in the layer
    since: int  # the optimizer step after which it left, 0-based
    until: int | None  # the step after which it came back; None if the training ended before


@dataclass(frozen=True, kw_only=True)
class Picks:
    """Which layers a trial's filters were picked in, to be dropped or to be renewed at once."""

    decisions: int  # optimizer steps at which any filter was picked
    by_layer: Counter[str]  # filters picked over all decisions, by layer


@dataclass(frozen=True, kw_only=True)
class Partner:
    """One of several networks of a trial: its number, its learning rate, test accuracies by epoch where measured."""

    number: int
    lr: float
    accuracies: Mapping[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What the weights of one network carry after one epoch, over all layers that are looked at."""

    epoch: int  # 1-based
    partner: int  # number of the network
    entropy: float | None  # sum of the layers' entropies, in nats; None if one is not finite
    # Share of the filters whose l1 norm is below each of `BELOW`, over all layers' filters.
    invalid: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Views:
    """What filters and networks did, by the trial's name; a trial is absent where there is nothing."""

    # The records, by their class and their trial.
    details: Mapping[type, Mapping[str, tuple[Any, ...]]]

    def of(self, record: type[Record], /) -> Mapping[str, tuple[Record, ...]]:
        """The records of one class by trial, in the order in which they were written; absent without any."""
        return self.details.get(record, {})

    def _each(
        self, record: type[Record], seen: Callable[[tuple[Record, ...]], Seen]
    ) -> dict[str, Seen]:
        """What is seen in the records of one class, by trial."""
        return {trial: seen(own) for trial, own in self.of(record).items()}

    @cached_property
    def accuracies(self) -> dict[str, dict[int, float]]:
        """Test accuracy by trial and epoch; epochs without an evaluation are absent."""
        return self._each(EpochRecord, _accuracies)

    @property
    def renewals(self) -> Mapping[str, tuple[RenewalRecord, ...]]:
        """The filters that were renewed, in the order in which it happened."""
        return self.of(RenewalRecord)

    @cached_property
    def layers(self) -> dict[str, dict[str, int]]:
        """Number of filters of each watched layer, in the network's order."""
        return self._each(LayerRecord, lambda own: {each.layer: each.filters for each in own})

    @cached_property
    def overlaps(self) -> dict[str, dict[str, dict[int, float]]]:
        """Mean overlap by layer and epoch."""
        return _by_layer(self.of(OverlapRecord), lambda record: record.mean)

    @cached_property
    def entropies(self) -> dict[str, dict[str, dict[int, float]]]:
        """Entropy of the weights by layer and epoch, mean over a trial's networks."""
        return _by_layer(self.of(WeightRecord), lambda record: record.entropy)

    @cached_property
    def _picked(self) -> dict[str, list[RenewalRecord | RestingRecord]]:
        """Filters that were picked: those that were renewed, then those that were out at the end."""
        renewed, resting = self.of(RenewalRecord), self.of(RestingRecord)
        return {
            trial: [*renewed.get(trial, ()), *resting.get(trial, ())]
            for trial in {**renewed, **resting}
        }

    @cached_property
    def drops(self) -> dict[str, tuple[Drop, ...]]:
        """Times out of the network: of filters that came back, then of those that did not."""
        found = {
            trial: tuple(_drop(each) for each in own if each.dropped is not None)
            for trial, own in self._picked.items()
        }
        return {trial: drops for trial, drops in found.items() if drops}

    @cached_property
    def picks(self) -> dict[str, Picks]:
        """In which layers filters were picked, renewed since or not."""
        return {
            trial: Picks(
                decisions=len(set(map(_decided, own))),
                by_layer=Counter(sorted(each.layer for each in own)),
            )
            for trial, own in self._picked.items()
        }

    @cached_property
    def partners(self) -> dict[str, tuple[Partner, ...]]:
        """The networks of a trial that has several, in their order."""
        return self._each(PartnerRecord, _partners)

    @cached_property
    def together(self) -> dict[str, dict[str, float]]:
        """What they are worth as one: "ensemble", "mean weights" and "best" to a test accuracy."""
        return self._each(
            TogetherRecord, lambda own: {each.how: each.test_accuracy for each in own}
        )

    @cached_property
    def grafts(self) -> dict[str, dict[str, list[GraftRecord]]]:
        """Layer to what the networks took from each other there, in order."""
        return self._each(GraftRecord, lambda own: grouped(own, attrgetter("layer")))

    @cached_property
    def carried(self) -> dict[str, tuple[Carried, ...]]:
        """What the weights carry, by epoch and network; a layer has as many votes as it has filters."""
        found: dict[str, tuple[Carried, ...]] = {}
        for trial, own in self.of(WeightRecord).items():
            by_network = grouped(own, lambda each: (each.epoch, each.partner))
            filters = self.layers.get(trial, {})
            found[trial] = tuple(_carried(by_network[key], filters) for key in sorted(by_network))
        return found


def _partners(records: Iterable[PartnerRecord]) -> tuple[Partner, ...]:
    return tuple(
        Partner(number=number, lr=epochs[-1].lr, accuracies=_accuracies(epochs))
        for number, epochs in sorted(grouped(records, attrgetter("partner")).items())
    )


def _accuracies(records: Iterable[EpochRecord | PartnerRecord]) -> dict[int, float]:
    """Test accuracy by epoch; epochs without an evaluation are absent."""
    return {each.epoch: each.test_accuracy for each in records if each.test_accuracy is not None}


def _by_layer(
    records: Mapping[str, tuple[Record, ...]], number: Callable[[Record], float | None]
) -> dict[str, dict[str, dict[int, float]]]:
    """Trial, layer and epoch to the mean of a number over the networks; what is no number is left out."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for trial, own in records.items():
        places = grouped(own, attrgetter("layer", "epoch"))
        for (layer, epoch), there in places.items():
            known = [value for value in map(number, there) if value is not None]
            if known:
                found.setdefault(trial, {}).setdefault(layer, {})[epoch] = fmean(known)
    return found


def _drop(record: RenewalRecord | RestingRecord) -> Drop:
    until = record.step if isinstance(record, RenewalRecord) else None
    return Drop(layer=record.layer, filter=record.filter, since=_decided(record), until=until)


def _decided(record: RenewalRecord | RestingRecord) -> int:
    """The step of the decision: that of a filter that was dropped is when it left."""
    at_once = record.step if isinstance(record, RenewalRecord) else 0
    return at_once if record.dropped is None else record.dropped


def _carried(records: list[WeightRecord], filters: Mapping[str, int]) -> Carried:
    shares: list[list[float]] = [[getattr(each, name) for name in BELOW] for each in records]
    votes = [filters[record.layer] for record in records]
    entropies = [record.entropy for record in records]
    return Carried(
        epoch=records[0].epoch,
        partner=records[0].partner,
        entropy=None
        if None in entropies
        else math.fsum(each for each in entropies if each is not None),
        invalid=tuple(
            math.fsum(share * vote for share, vote in zip(own, votes, strict=True)) / sum(votes)
            for own in zip(*shares, strict=True)
        ),
    )
