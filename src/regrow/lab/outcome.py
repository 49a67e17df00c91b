"""What one trial leaves behind: plain records that a worker sends and the store keeps. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["finished", "diverged", "crashed"]


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """The metrics of one epoch; None where a number is not finite or was not measured.

    Attributes:
        epoch: 1-based.
        train_loss: Mean over the examples as they were trained on.
        train_accuracy: Share, of the same predictions.
        test_loss: Mean over the test set after the epoch.
        test_accuracy: Share.
        seconds: Wall time, evaluation included.
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RenewalRecord:
    """One renewed filter.

    Attributes:
        step: Optimizer step, 0-based.
        epoch: 1-based epoch of that step.
        layer: Module path.
        filter: Index in the layer.
        score: Its score; None if not finite.
        dropped: The step after which it left the network; None where it was renewed at once.
        change: How far all renewals of this step moved the model's output; None where that was not measured.
    """

    step: int
    epoch: int
    layer: str
    filter: int
    score: float | None
    dropped: int | None = None
    change: float | None = None


@dataclass(frozen=True, kw_only=True)
class RestingRecord:
    """One filter that was out of the network when the training ended.

    Attributes:
        layer: Module path.
        filter: Index in the layer.
        dropped: The step after which it left the network, 0-based.
    """

    layer: str
    filter: int
    dropped: int


@dataclass(frozen=True, kw_only=True)
class OverlapRecord:
    """How the filters of one layer overlap after one epoch.

    Attributes:
        epoch: 1-based.
        layer: Module path.
        mean: Mean inter-filter overlap of the filters in the network; None if not finite.
        largest: The largest of them.
        out: Filters that are out of the network.
    """

    epoch: int
    layer: str
    mean: float | None
    largest: float | None
    out: int


@dataclass(frozen=True, kw_only=True)
class CorrelationRecord:
    """How well one ranking of the filters agrees with the oracle's after one epoch.

    Attributes:
        epoch: 1-based.
        ranking: Name of the ranking.
        value: Pearson's correlation of its scores with the oracle's over all filters; None where it is not defined.
        rank: Spearman's.
        filters: How many filters were ranked: those in the network.
    """

    epoch: int
    ranking: str
    value: float | None
    rank: float | None
    filters: int


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """What the weights of one layer carry after one epoch.

    Attributes:
        epoch: 1-based.
        partner: Number of the network.
        layer: Module path.
        entropy: Of the layer's weights; None if not finite.
        below_1: Share of the filters whose l1 norm is below 1.
        below_0_1: Below 0.1.
        below_0_01: Below 0.01.
        below_0_001: Below 0.001.
    """

    epoch: int
    partner: int
    layer: str
    entropy: float | None
    below_1: float
    below_0_1: float
    below_0_01: float
    below_0_001: float


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """A trial that ended.

    Attributes:
        trial: Its name.
        cell: Its cell.
        arm: Label of its arm.
        seed: Its seed.
        status: ``finished``, ``diverged`` (non-finite loss or weights; stopped there) or ``crashed``.
        majority_share: Share of the most common class in the test set; None if it crashed.
        epochs: One record an epoch.
        steps: Optimizer steps.
        renewals: One record a renewed filter.
        resting: One record a filter that is still out of the network.
        layers: Number of filters of each watched layer, in the network's order; empty where none was watched.
        overlaps: One record a layer and epoch, where the study asks for them.
        correlations: One record a ranking and epoch, where the study asks for them.
        partners: One record a network and epoch, where a trial has several.
        together: What they are worth as one.
        grafts: One record a layer, network and graft.
        weights: One record a layer, network and epoch, where the study asks for them.
        nonfinite: Scores that were no numbers.
        restarts: Times that the whole network was redrawn.
        recipe_seconds: Wall time inside regrow's hooks.
        error: The message of a crash.
    """

    trial: str
    cell: str
    arm: str
    seed: int
    status: Status
    majority_share: float | None = None
    epochs: tuple[EpochRecord, ...] = ()
    steps: int = 0
    renewals: tuple[RenewalRecord, ...] = ()
    resting: tuple[RestingRecord, ...] = ()
    layers: tuple[tuple[str, int], ...] = ()
    overlaps: tuple[OverlapRecord, ...] = ()
    correlations: tuple[CorrelationRecord, ...] = ()
    partners: tuple[PartnerRecord, ...] = ()
    together: tuple[TogetherRecord, ...] = ()
    grafts: tuple[GraftRecord, ...] = ()
    weights: tuple[WeightRecord, ...] = ()
    nonfinite: int = 0
    restarts: int = 0
    recipe_seconds: float = 0.0
    error: str | None = None

    @property
    def last(self) -> EpochRecord | None:
        """The last epoch's metrics: what a trial is judged by."""
        return self.epochs[-1] if self.epochs else None

    @property
    def renewal_steps(self) -> int:
        """Number of optimizer steps with a renewal."""
        return len({record.step for record in self.renewals})

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, over all sessions of an interrupted trial."""
        return sum(record.seconds for record in self.epochs)
