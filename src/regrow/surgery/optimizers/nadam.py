"""NAdam: the product of all momenta is one number a tensor in torch; a renewed unit has its own.

Found by `surgery/optimizers/registry`; called as `base` beside it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from regrow.surgery.optimizers.base import Family, updates_until
from regrow.surgery.optimizers.step import (
    FORGOTTEN,
    Options,
    StepResult,
    YoungStep,
    as_fine,
    bias_correction,
    counting_type,
    learning_rate,
)

_DECAY = 0.96
"""The base of NAdam's momentum schedule; a constant of the method."""


class NAdam(Family):
    """Moments zeroed; bias correction, momentum and product of momenta of the unit's own age.

    The step uses the gradient and the moments, with coupled weight decay of the old parameter, so the
    tensor right before the step is kept, and the new value is computed from it. The product is multiplied
    on in the type in which torch keeps its own, so that both are rounded alike.
    """

    zeroed = ("exp_avg", "exp_avg_sq")
    others = ("mu_product",)
    ages = True
    speed_option: ClassVar[str] = "momentum_decay"  # how fast the momentum's schedule is

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """An empty product."""
        return {"mu_product": torch.ones((), dtype=state["mu_product"].dtype, device="cpu")}

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """The product, this step's momentum included."""
        product, beta1 = kept["mu_product"], float(group["betas"][0])
        momentum = nadam_momentum(age, beta1=beta1, momentum_decay=self._speed(group))
        return {"mu_product": product * momentum.to(product.dtype)}

    def result(self, young: YoungStep) -> StepResult:
        """NAdam's step with the unit's own product."""
        group = young.group
        beta1, beta2 = (float(beta) for beta in group["betas"])
        lr, decay = learning_rate(group), group["weight_decay"]
        apart, speed = bool(group.get("decoupled_weight_decay", False)), self._speed(group)
        update = nadam_update(
            young.direction(weight_decay=0.0 if apart else decay),
            young.now("exp_avg"),
            young.now("exp_avg_sq"),
            age=young.age,
            product=young.kept["mu_product"],
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=float(group["eps"]),
            momentum_decay=speed,
        )
        value = young.value * (1.0 - lr * decay) if apart else young.value
        return StepResult(value=value - update)

    def horizon(self, group: Options) -> int:
        """Until the moments, the product and the momentum's schedule are all at their limits."""
        slowest = max(updates_until(float(beta)) for beta in group["betas"])
        speed = -self._speed(group) * math.log(_DECAY)
        return max(slowest, math.ceil(-math.log(FORGOTTEN) / speed)) if speed > 0 else slowest

    def _speed(self, group: Options) -> float:
        return float(group[self.speed_option])


@final
class NAdamLegacy(NAdam):
    """timm's: the same step, with a count and a product that are Python's numbers."""

    others = ()
    counts = False
    speed_option = "schedule_decay"

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """An empty product."""
        return {"mu_product": torch.ones((), dtype=counting_type(state["exp_avg"]), device="cpu")}


def nadam_update(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    age: Tensor,
    product: Tensor,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    momentum_decay: float,
) -> Tensor:
    """NAdam's step for entries that have been updated `age` times since their state was fresh.

    torch keeps the product of all momenta once for a whole tensor; a renewed unit needs its own.

        update = lr * ((1 - mu[age]) / (1 - P) * g + mu[age + 1] / (1 - P * mu[age + 1]) * m)
                 / (sqrt(v / (1 - beta2^age)) + eps),        P = mu[1] * ... * mu[age]

    Args:
        grad: Gradient g of this step with coupled weight decay, any shape.
        exp_avg, exp_avg_sq, age, lr, beta1, beta2, eps: As in `regrow.functional.adam_update`.
        product: P, the shape of `age`.
        momentum_decay: The momentum schedule's speed.

    Returns:
        What NAdam subtracts from the parameter, same shape as `grad`, without any decoupled weight decay.

    Source:
        Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples:
        >>> g, age = torch.tensor([2.0]), torch.tensor([1.0])
        >>> mu = nadam_momentum(age, beta1=0.9, momentum_decay=0.0)
        >>> nadam_update(g, 0.1 * g, 0.001 * g**2, age=age, product=mu, lr=0.01, beta1=0.9, beta2=0.999, eps=0.0,
        ...              momentum_decay=0.0)
        tensor([0.0106])
    """
    age = as_fine(age, exp_avg)
    now = nadam_momentum(age, beta1=beta1, momentum_decay=momentum_decay)
    coming = nadam_momentum(age + 1.0, beta1=beta1, momentum_decay=momentum_decay)
    product = product.to(age.dtype)
    of_grad = (lr * (1.0 - now) / (1.0 - product)).to(grad.dtype)
    of_average = (lr * coming / (1.0 - product * coming)).to(grad.dtype)
    spread = (exp_avg_sq / bias_correction(beta2, age).to(grad.dtype)).sqrt() + eps
    return (of_grad * grad + of_average * exp_avg) / spread


def nadam_momentum(age: Tensor, *, beta1: float, momentum_decay: float) -> Tensor:
    """NAdam's momentum at the age-th update.

        mu[age] = beta1 * (1 - 0.5 * 0.96^(age * momentum_decay))

    Args:
        age: Number of the update, from 1; floating point.
        beta1: Decay of the first moment.
        momentum_decay: The schedule's speed, psi.

    Returns:
        The momentum, of the shape and type of `age`.

    Source:
        Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples:
        >>> nadam_momentum(torch.tensor([1.0]), beta1=0.9, momentum_decay=0.0)
        tensor([0.4500])
    """
    return beta1 * (1.0 - 0.5 * _DECAY ** (age * momentum_decay))
