"""What is kept of a trial of several networks: each of them, all as one, and what they took from each other."""

from __future__ import annotations

from regrow.study.tables import table


@table("partners", key="epoch partner")
class PartnerRecord:
    """The metrics of one of several networks after one epoch; None as in `EpochRecord`."""

    epoch: int  # 1-based
    partner: int  # number of the network, from 0
    lr: float  # its learning rate before any schedule
    train_loss: float | None  # mean over the examples as they were trained on
    train_accuracy: float  # share, of the same predictions
    test_loss: float | None  # mean over the test set after the epoch
    test_accuracy: float | None  # share


@table("together", key="how")
class TogetherRecord:
    """What several networks are worth as one, at the end."""

    how: str  # ``ensemble``, ``mean weights`` or ``best``
    test_accuracy: float  # share
    partner: int | None = None  # for ``best``, the network's number


@table("grafts", key="step partner layer")
class GraftRecord:
    """One layer of one network that took a share of its partner's weights; None where a number is not finite."""

    step: int  # optimizer step, 0-based
    epoch: int  # 1-based epoch of that step
    partner: int  # number of the network
    layer: str  # module path
    share: float | None  # what it kept of its own
    information: float | None  # what its weights carried before
    partner_information: float | None  # what its partner's carried
    distance: float | None  # between both weights, as a share of the mean of their lengths
