"""MADGRAD: sums of gradients, weighted by the root of the age, and the value at which they began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

from regrow.surgery.optimizers.recomputed import RecomputedFamily
from regrow.surgery.optimizers.step import Options, StepResult, YoungStep, fine, learning_rate


@final
class MADGRAD(RecomputedFamily):
    """Both sums zeroed; the weights of their terms by the unit's own age; the first value is that of the first step.

    The weights of old and new never meet, so young entries stay young.

    Source:
        Defazio, Jelassi, "Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient method for
        stochastic optimization", JMLR 2022.
    """

    zeroed = ("grad_sum_sq", "s")
    others = ("x0",)
    kept = ("grad_sum_sq", "s")
    rest = 0.0
    settles = None

    def begin_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """Zero the sums; the first value is the new one."""
        super().begin_(parameter, state, mask, group=group, defaults=defaults)
        start = state.get("x0")
        if isinstance(start, Tensor):
            start.copy_(torch.where(mask, parameter.detach().to(start.dtype), start))

    def overwrites_grad(self, group: Options) -> bool:
        """Earlier versions add coupled decay to the gradient in place."""
        return bool(group["weight_decay"] != 0 and not group["decoupled_decay"])

    def result(self, young: YoungStep) -> StepResult:
        """MADGRAD's step with the weight of the unit's own age."""
        group, kind = young.group, fine(young.parameter)
        rate, eps = learning_rate(group), float(group["eps"])
        momentum, decay = float(group["momentum"]), group["weight_decay"]
        apart = bool(group["decoupled_decay"])
        weight = ((rate + eps) * young.age.sqrt()).to(kind)
        grad = young.direction(weight_decay=0.0 if apart else decay)
        value = young.value * (1.0 - rate * decay) if apart else young.value
        squares, total = young.earlier("grad_sum_sq"), young.earlier("s")
        if momentum == 0.0:
            start = value + total / (squares.pow(1 / 3) + eps)
        else:
            start = torch.where(young.age <= 1, young.value, young.now("x0"))
        squares, total = squares + weight * grad**2, total + weight * grad
        there = start - total / (squares.pow(1 / 3) + eps)
        state = {"grad_sum_sq": squares, "s": total}
        if momentum == 0.0:
            return StepResult(value=there, state=state)
        return StepResult(
            value=momentum * value + (1.0 - momentum) * there, state={**state, "x0": start}
        )
