"""Optimizers outside of torch whose steps know the time: each step of a young unit is computed a second time."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import (
    FORGOTTEN,
    Options,
    StepResult,
    YoungStep,
    learning_rate,
    lost_share,
)


class RecomputedFamily(Family):
    """The new value comes from the tensor right before the step and the unit's own count, which the surgeon keeps.

    Such classes count in Python's numbers in one version and in tensors in the next, for a tensor or for a whole group.
    Nothing here reads their counts, so that all of these are the same.
    """

    counts = False
    ages = True
    rest = FORGOTTEN


class RecomputedMoments(RecomputedFamily):
    """The step is a function of the moments after it and of the age, apart from weight decay."""

    decay_after: ClassVar[bool] = False
    """Whether weight decay comes after the step."""

    def share(self, group: Options) -> float | Tensor:
        """The share of itself that the parameter loses."""
        return lost_share(group, lr=learning_rate(group))

    @abstractmethod
    def update(self, young: YoungStep) -> Tensor:
        """What is subtracted from a parameter of this age, without decoupled weight decay."""

    def result(self, young: YoungStep) -> StepResult:
        """Decay, and the step of the unit's own age."""
        kept = 1.0 - self.share(young.group)
        if self.decay_after:
            return StepResult(value=(young.value - self.update(young)) * kept)
        return StepResult(value=young.value * kept - self.update(young))
