"""NAdam: the product of all momenta is one number a tensor in torch; a renewed unit has its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regrow.functional.nesterov import nadam_momentum, nadam_update
from regrow.surgery.optimizers.base import Family, updates_until
from regrow.surgery.optimizers.step import (
    FORGOTTEN,
    Options,
    StepResult,
    YoungStep,
    counting_type,
    learning_rate,
)


class NAdam(Family):
    """Moments zeroed; bias correction, momentum and product of momenta of the unit's own age.

    The step uses the gradient and the moments, with coupled weight decay of the old parameter, so the
    tensor right before the step is kept, and the new value is computed from it. The product is multiplied
    on in the type in which torch keeps its own, so that both are rounded alike.
    """

    zeroed = ("exp_avg", "exp_avg_sq")
    others = ("mu_product",)
    ages = True

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """An empty product."""
        return {"mu_product": torch.ones((), dtype=state["mu_product"].dtype, device="cpu")}

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """The product, this step's momentum included."""
        product, beta1 = kept["mu_product"], float(group["betas"][0])
        momentum = nadam_momentum(age, beta1=beta1, momentum_decay=self.speed(group))
        return {"mu_product": product * momentum.to(product.dtype)}

    def result(self, young: YoungStep) -> StepResult:
        """NAdam's step with the unit's own product."""
        group = young.group
        beta1, beta2 = (float(beta) for beta in group["betas"])
        lr, decay = learning_rate(group), group["weight_decay"]
        apart, speed = bool(group.get("decoupled_weight_decay", False)), self.speed(group)
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
        speed = -self.speed(group) * math.log(0.96)
        return max(slowest, math.ceil(-math.log(FORGOTTEN) / speed)) if speed > 0 else slowest

    def speed(self, group: Options) -> float:
        """The speed of the momentum's schedule."""
        return float(group["momentum_decay"])


@final
class NAdamLegacy(NAdam):
    """timm's: the same step, with a count and a product that are Python's numbers."""

    others = ()
    counts = False

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """An empty product."""
        return {"mu_product": torch.ones((), dtype=counting_type(state["exp_avg"]), device="cpu")}

    def speed(self, group: Options) -> float:
        """The speed of the momentum's schedule."""
        return float(group["schedule_decay"])
