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
    """

    step: int
    epoch: int
    layer: str
    filter: int
    score: float | None


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
