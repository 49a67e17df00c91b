"""What is kept of a trial of several networks: each of them, all as one, and what they took from each other."""

from __future__ import annotations

from dataclasses import dataclass

from regrow.study.tables import table


@table("partners", key="epoch partner")
@dataclass(frozen=True, kw_only=True, slots=True)
class PartnerRecord:
    """The metrics of one of several networks after one epoch; None as in `EpochRecord`.

    Attributes:
        epoch: 1-based.
        partner: Number of the network, from 0.
        lr: Its learning rate before any schedule.
        train_loss: Mean over the examples as they were trained on.
        train_accuracy: Share, of the same predictions.
        test_loss: Mean over the test set after the epoch.
        test_accuracy: Share.
    """

    epoch: int
    partner: int
    lr: float
    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None


@table("together", key="how")
@dataclass(frozen=True, kw_only=True, slots=True)
class TogetherRecord:
    """What several networks are worth as one, at the end.

    Attributes:
        how: ``ensemble``, ``mean weights`` or ``best``.
        test_accuracy: Share.
        partner: For ``best``, the network's number.
    """

    how: str
    test_accuracy: float
    partner: int | None = None


@table("grafts", key="step partner layer")
@dataclass(frozen=True, kw_only=True, slots=True)
class GraftRecord:
    """One layer of one network that took a share of its partner's weights; None where a number is not finite.

    Attributes:
        step: Optimizer step, 0-based.
        epoch: 1-based epoch of that step.
        partner: Number of the network.
        layer: Module path.
        share: What it kept of its own.
        information: What its weights carried before.
        partner_information: What its partner's carried.
        distance: Between both weights, as a share of the mean of their lengths.
    """

    step: int
    epoch: int
    partner: int
    layer: str
    share: float | None
    information: float | None
    partner_information: float | None
    distance: float | None
