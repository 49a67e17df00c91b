"""Optimizers outside of torch whose steps know the time: each step of a young unit is computed a second time."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from regrow.surgery.optimizers.base import Ageing, Due, Made, Options, learning_rate
from regrow.surgery.optimizers.moments import updates_until
from regrow.surgery.optimizers.options import lost_share


class Recomputed(Ageing):
    """The new value comes from the tensor right before the step and the unit's own count, which the surgeon keeps.

    Such classes count in Python's numbers in one version and in tensors in the next, for a tensor or for a whole group.
    Nothing here reads their counts, so that all of these are the same.
    """

    counts = False

    def horizon(self, group: Options) -> int | None:
        """Until the slowest average has forgotten that it began at zero.

        Args:
            group: The options.

        Returns:
            A number of updates.
        """
        return updates_until(max(float(beta) for beta in group["betas"]))


class RecomputedMoments(Recomputed):
    """The step is a function of the moments after it and of the age, beside weight decay."""

    decay_after: ClassVar[bool] = False
    """Whether weight decay comes after the step."""

    def share(self, group: Options) -> float | Tensor:
        """The share of itself that the parameter loses.

        Args:
            group: The options.

        Returns:
            Decoupled weight decay's.
        """
        return lost_share(group, lr=learning_rate(group))

    @abstractmethod
    def update(self, made: Made) -> Tensor:
        """What is subtracted from a parameter of this age, without decoupled weight decay.

        Args:
            made: The step.

        Returns:
            The update, in the fine type.
        """

    def due(self, made: Made) -> Due:
        """Decay, and the step of the unit's own age.

        Args:
            made: The step.

        Returns:
            The parameter.
        """
        kept = 1.0 - self.share(made.group)
        if self.decay_after:
            return Due(value=(made.value - self.update(made)) * kept)
        return Due(value=made.value * kept - self.update(made))
