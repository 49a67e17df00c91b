"""LaProp: gradients are normalised before they are averaged; averages of the learning rate are numbers of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import torch
from torch import Tensor

from regrow.surgery.optimizers.recomputed import RecomputedFamily
from regrow.surgery.optimizers.step import (
    Options,
    StepResult,
    YoungStep,
    counting_type,
    fine,
    learning_rate,
    lost_share,
)

_RATES: Final = ("exp_avg_lr_1", "exp_avg_lr_2")


@final
class LaProp(RecomputedFamily):
    """Both moments zeroed; the averages of the learning rate, which correct their bias, are the unit's own.

    They are kept in the type in which the optimizer keeps its own, so that both are rounded alike.

    Source:
        Ziyin, Wang, Ueda, "LaProp: separating momentum and adaptivity in Adam", arXiv 2002.04839.
    """

    zeroed = ("exp_avg", "exp_avg_sq")
    kept = ("exp_avg",)

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """Averages of nothing."""
        other = counting_type(state["exp_avg"])
        kinds = {key: state[key] for key in _RATES}
        return {
            key: torch.zeros(
                (), dtype=its.dtype if isinstance(its, Tensor) else other, device="cpu"
            )
            for key, its in kinds.items()
        }

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """The averages of the learning rate, this step included."""
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return {
            "exp_avg_lr_1": kept["exp_avg_lr_1"] * beta1 + (1.0 - beta1) * learning_rate(group),
            "exp_avg_lr_2": kept["exp_avg_lr_2"] * beta2 + (1.0 - beta2),
        }

    def result(self, young: YoungStep) -> StepResult:
        """LaProp's step with the unit's own averages of the learning rate."""
        group, kind = young.group, fine(young.parameter)
        beta1, lr = float(group["betas"][0]), learning_rate(group)
        rate, ones = (young.kept[key] for key in _RATES)
        spread = (young.now("exp_avg_sq") / ones.to(kind)).sqrt() + float(group["eps"])
        way = young.direction(weight_decay=0.0) / spread
        mean = beta1 * young.earlier("exp_avg") + lr * (1.0 - beta1) * way
        length = torch.where(rate != 0, lr / torch.where(rate != 0, rate, 1.0), 0.0)
        value = young.value - length.to(kind) * mean
        value = value * (1.0 - lost_share(group, lr=lr))
        return StepResult(value=value, state={"exp_avg": mean})
