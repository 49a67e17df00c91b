"""What happened in a run, as the plain records that the store keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from regrow.history import Grafted, Renewed, Report
from regrow.lab.measure import finite_or_none
from regrow.lab.member import Member
from regrow.study.partner_records import GraftRecord, PartnerRecord
from regrow.study.records import RenewalRecord, RestingRecord


class Kept:
    """What was found in a run and is not told by its epochs, by the fields of `TrialResult`."""

    def __init__(self, **kinds: type) -> None:
        self._kinds = kinds  # the class of the records of each
        self.records: dict[str, list[Any]] = {field: [] for field in kinds}

    def found(self) -> dict[str, Any]:
        """All of it."""
        return {field: tuple(records) for field, records in self.records.items()}

    def state_dict(self) -> dict[str, Any]:
        """What was found so far, as plain values."""
        return {field: list(map(asdict, records)) for field, records in self.records.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; probes, which came later, may not be in it."""
        for field, kind in self._kinds.items():
            saved = state.get(field, ()) if field == "probes" else state[field]
            self.records[field] = [kind(**each) for each in saved]


def renewal_records(events: Sequence[Renewed], *, per_epoch: int) -> tuple[RenewalRecord, ...]:
    """One record a renewed filter."""
    return tuple(
        RenewalRecord(
            step=event.step,
            epoch=event.step // per_epoch + 1,
            layer=event.layer,
            filter=index,
            score=finite_or_none(score),
            dropped=event.dropped,
            change=None if event.change is None else finite_or_none(event.change),
        )
        for event in events
        for index, score in zip(event.filters, event.scores, strict=True)
    )


def resting_records(report: Report) -> tuple[RestingRecord, ...]:
    """The filters that never came back: the training ended while they were out."""
    return tuple(
        RestingRecord(layer=layer, filter=index, dropped=report.resting_since)
        for layer, filters in report.resting.items()
        for index in filters
        if report.resting_since is not None
    )


def graft_records(events: Sequence[Grafted], *, per_epoch: int) -> tuple[GraftRecord, ...]:
    """One record a layer and network of a graft."""
    return tuple(
        GraftRecord(
            step=event.step,
            epoch=event.step // per_epoch + 1,
            partner=event.partner,
            layer=event.layer,
            share=finite_or_none(event.share),
            information=finite_or_none(event.information),
            partner_information=finite_or_none(event.partner_information),
            distance=finite_or_none(event.distance),
        )
        for event in events
    )


def partner_records(
    epoch: int,
    members: Sequence[Member],
    trained: Sequence[tuple[float, float]],
    tests: Sequence[tuple[float | None, float | None]],
) -> list[PartnerRecord]:
    """The metrics of each of several networks, by loss and accuracy in training and in the test, where it was made."""
    return [
        PartnerRecord(
            epoch=epoch,
            partner=place,
            lr=member.lr,
            train_loss=finite_or_none(train[0]),
            train_accuracy=train[1],
            test_loss=test[0],
            test_accuracy=test[1],
        )
        for place, (member, train, test) in enumerate(zip(members, trained, tests, strict=True))
    ]
