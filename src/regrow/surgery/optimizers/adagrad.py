"""Adagrad: the sum of squares begins anew; with lr_decay so does the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import Options, StepResult, YoungStep, fine, learning_rate


@final
class Adagrad(Family):
    """The sum is set to ``initial_accumulator_value``; with lr_decay the learning rate is that of the unit's own age.

    Without lr_decay nothing knows the time, and nothing need be kept. With it the learning rates of old and new
    never meet (their ratio goes to 1 as 1 - gap / age), so young entries stay young: the step of such a tensor
    is computed a second time from then on.
    """

    others = ("sum",)
    only_counts = True
    settles = None

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """The sum of a fresh parameter is the constructor's, whatever its group says."""
        return {"sum": defaults["initial_accumulator_value"]}

    def knows_age(self, group: Options) -> bool:
        """With lr_decay."""
        return bool(group["lr_decay"] != 0)

    def result(self, young: YoungStep) -> StepResult:
        """Adagrad's step with the learning rate of the unit's own age."""
        group, kind = young.group, fine(young.parameter)
        rate = adagrad_rate(
            young.age, lr=learning_rate(group), lr_decay=float(group["lr_decay"])
        ).to(kind)
        direction = young.direction(weight_decay=group["weight_decay"])
        return StepResult(
            value=young.value - rate * direction / (young.now("sum").sqrt() + group["eps"])
        )


def adagrad_rate(age: Tensor, *, lr: float | Tensor, lr_decay: float) -> Tensor:
    """Adagrad's learning rate at the age-th update.

        rate[age] = lr / (1 + (age - 1) * lr_decay)

    Args:
        age: Number of the update, from 1; floating point.
        lr: Learning rate.
        lr_decay: The speed of its fall.

    Returns:
        The rate, of the shape of `age`.

    Examples:
        >>> import torch
        >>> adagrad_rate(torch.tensor([1.0, 11.0]), lr=0.5, lr_decay=0.1)
        tensor([0.5000, 0.2500])
    """
    return lr / (1.0 + (age - 1.0) * lr_decay)
