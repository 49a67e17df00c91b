"""Adam, AdamW, RAdam, Adamax: the step is a function of the moments and of the age."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from regrow.functional import adam_update, adamax_update, radam_update
from regrow.surgery.optimizers.base import (
    FORGOTTEN,
    Due,
    Family,
    Made,
    Options,
    learning_rate,
)


def updates_until(beta: float, *, below: float = FORGOTTEN) -> int:
    """The number of updates after which beta^n is below a bound.

    Args:
        beta: Decay, 0 to 1 (1 excluded).
        below: The bound.

    Returns:
        The number, at least 1.

    Examples:
        >>> updates_until(0.5), updates_until(0.0)
        (30, 1)
    """
    return max(1, math.ceil(math.log(below) / math.log(beta))) if beta > 0 else 1


class MomentFamily(Family):
    """The step depends on the moments, which are right after it, and on the age, which is the tensor's.

    So no look at the tensor before the step is needed: what the optimizer has subtracted can be computed,
    and what it should have, and the difference is added. This works in loops without hooks too, and weight
    decay, maximize, foreach and fused need no case of their own, for they act on the moments or on both
    sides alike. The difference is rounded once more to the parameter's digits, in float32 one unit in the
    last place a step at most. In bfloat16 and float16 that would be coarse, and the optimizer's own
    intermediate results are rounded so too: there the tensor before the step is kept, if hooks allow,
    and the new value is computed in float32 and rounded once.
    """

    can_do_without = True

    def remembers(self, group: Options) -> bool:
        """Until the bias corrections are 1.

        Args:
            group: The options.

        Returns:
            True.
        """
        del group
        return True

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """Only where that gives more digits.

        Args:
            group: The options.
            coarse: Whether the parameter has fewer digits than float32.

        Returns:
            `coarse`.
        """
        del group
        return coarse

    def decoupled(self, group: Options) -> bool:
        """Whether weight decay shrinks the parameter itself, beside the gradient's step.

        Args:
            group: The options.

        Returns:
            The group's own word.
        """
        return bool(group.get("decoupled_weight_decay", False))

    @abstractmethod
    def update(self, made: Made, age: Tensor) -> Tensor:
        """What is subtracted from a parameter of this age, without decoupled weight decay.

        Args:
            made: The step.
            age: Numbers of updates.

        Returns:
            The update, in the fine type.
        """

    def due(self, made: Made) -> Due:
        """Take back what was subtracted, subtract what is due.

        Args:
            made: The step.

        Returns:
            The parameter.
        """
        wanted = self.update(made, made.age)
        step = made.step.to(dtype=made.age.dtype, device=made.parameter.device)
        subtracted = self.update(made, step)
        value = made.left + (subtracted - wanted)
        if made.before is None or made.before.count is None:
            return Due(value=value)
        decay = made.group["weight_decay"] if self.decoupled(made.group) else 0.0
        again = made.value * (1.0 - learning_rate(made.group) * decay) - wanted
        # In a loop without hooks it was taken after the step. On a GPU that is not known here.
        in_time = (made.before.count != made.step).to(value.device)
        return Due(value=torch.where(in_time, again, value))


class Adam(MomentFamily):
    """Also with amsgrad: moments (and their maximum) zeroed, bias corrections of the unit's own age."""

    zeroed = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def update(self, made: Made, age: Tensor) -> Tensor:
        """Adam's.

        Args:
            made: The step.
            age: Numbers of updates.

        Returns:
            The update.
        """
        beta1, beta2 = made.group["betas"]
        return adam_update(
            made.now("exp_avg"),
            made.now("max_exp_avg_sq" if made.group["amsgrad"] else "exp_avg_sq"),
            age=age,
            lr=learning_rate(made.group),
            beta1=float(beta1),
            beta2=float(beta2),
            eps=float(made.group["eps"]),
        )

    def horizon(self, group: Options) -> int:
        """Until the slower average has forgotten that it began at zero.

        Args:
            group: The options.

        Returns:
            A number of updates.
        """
        return updates_until(max(float(beta) for beta in group["betas"]))


@final
class AdamW(Adam):
    """As Adam; weight decay is decoupled, whether the group says so (torch from 2.7 on) or not."""

    def decoupled(self, group: Options) -> bool:
        """Always.

        Args:
            group: The options.

        Returns:
            True.
        """
        del group
        return True


@final
class RAdam(MomentFamily):
    """Moments zeroed; bias corrections and rectification of the unit's own age."""

    zeroed = ("exp_avg", "exp_avg_sq")

    def update(self, made: Made, age: Tensor) -> Tensor:
        """RAdam's.

        Args:
            made: The step.
            age: Numbers of updates.

        Returns:
            The update.
        """
        beta1, beta2 = made.group["betas"]
        return radam_update(
            made.now("exp_avg"),
            made.now("exp_avg_sq"),
            age=age,
            lr=learning_rate(made.group),
            beta1=float(beta1),
            beta2=float(beta2),
            eps=float(made.group["eps"]),
        )

    def horizon(self, group: Options) -> int:
        """The rectification lags by age * beta2^age, so the bound on beta2^age is a stricter one.

        Args:
            group: The options.

        Returns:
            A number of updates.
        """
        return updates_until(max(float(beta) for beta in group["betas"]), below=FORGOTTEN**1.6)


@final
class Adamax(MomentFamily):
    """Moment and decaying maximum zeroed; bias correction of the unit's own age."""

    zeroed = ("exp_avg", "exp_inf")

    def update(self, made: Made, age: Tensor) -> Tensor:
        """Adamax's.

        Args:
            made: The step.
            age: Numbers of updates.

        Returns:
            The update.
        """
        return adamax_update(
            made.now("exp_avg"),
            made.now("exp_inf"),
            age=age,
            lr=learning_rate(made.group),
            beta1=float(made.group["betas"][0]),
        )

    def horizon(self, group: Options) -> int:
        """Until the moment has forgotten that it began at zero; the maximum is not corrected.

        Args:
            group: The options.

        Returns:
            A number of updates.
        """
        return updates_until(float(group["betas"][0]))
