"""Adan: an average of gradient differences, and one count for a whole group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regrow.surgery.optimizers.recomputed import RecomputedFamily
from regrow.surgery.optimizers.step import (
    Options,
    StepResult,
    YoungStep,
    as_fine,
    bias_correction,
    counting_type,
    learning_rate,
)


@final
class Adan(RecomputedFamily):
    """All averages zeroed; bias corrections by the group's steps since the renewal; the first difference is zero.

    The count goes on in steps without a gradient, as that of a fresh optimizer's group does. A fresh parameter has no
    gradient of before, so its first update has no difference; that update is made again here with its state.

    Source:
        Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models", TPAMI 2024.
    """

    zeroed = ("exp_avg", "exp_avg_sq", "exp_avg_diff", "neg_pre_grad")

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """The group's count at the birth."""
        kind = counting_type(state["exp_avg"])
        return {"behind": torch.tensor(float(group.get("step", 0)), dtype=kind, device="cpu")}

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """The count at the birth; 0 once `restart_opt` has set the group's count back."""
        behind = kept["behind"]
        return {"behind": torch.where(behind < float(group["step"]), behind, 0.0)}

    def result(self, young: YoungStep) -> StepResult:
        """Adan's step with the group's count since the birth."""
        group, count = young.group, float(young.group["step"])
        beta1, beta2, beta3 = (float(beta) for beta in group["betas"])
        lr, decay = learning_rate(group), group["weight_decay"]
        grad, mean = young.direction(weight_decay=0.0), young.now("exp_avg")
        age, first = as_fine(count - young.kept["behind"], mean), young.age <= 1
        change = torch.where(first, 0.0, young.now("exp_avg_diff"))
        square = torch.where(first, (1.0 - beta3) * grad**2, young.now("exp_avg_sq"))
        spread = square.sqrt() / bias_correction(beta3, age).sqrt().to(mean.dtype) + float(
            group["eps"]
        )
        of_mean = (lr / bias_correction(beta1, age)).to(mean.dtype)
        of_change = (lr * beta2 / bias_correction(beta2, age)).to(mean.dtype)
        update = (of_mean * mean + of_change * change) / spread
        if group["no_prox"]:
            value = young.value * (1.0 - lr * decay) - update
        else:
            value = (young.value - update) / (1.0 + lr * decay)
        state = {"exp_avg_diff": change, "exp_avg_sq": square}
        return StepResult(value=value, state=state)
