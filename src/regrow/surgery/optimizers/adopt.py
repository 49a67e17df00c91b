"""ADOPT: the first update only measures the gradient, and later ones are clipped by the age."""

from __future__ import annotations

from typing import final

import torch

from regrow.surgery.optimizers.recomputed import RecomputedFamily
from regrow.surgery.optimizers.step import Options, StepResult, YoungStep, learning_rate, lost_share


@final
class Adopt(RecomputedFamily):
    """Moments zeroed; the first update leaves the parameter where it is, and sets the second moment.

    With ``clip_exp`` the normalised gradient is clipped at ``(age - 1)^clip_exp``, which has no limit: then young
    entries stay young.

    Source:
        Taniguchi et al., "ADOPT: modified Adam can converge with any beta2 with the optimal rate", NeurIPS 2024.
    """

    zeroed = ("exp_avg", "exp_avg_sq")
    kept = ("exp_avg", "exp_avg_sq")

    def result(self, young: YoungStep) -> StepResult:
        """ADOPT's step of the unit's own age."""
        group, lr = young.group, learning_rate(young.group)
        apart, decay = bool(group["decoupled"]), group["weight_decay"]
        grad = young.direction(weight_decay=0.0 if apart else decay)
        mean, square = young.earlier("exp_avg"), young.earlier("exp_avg_sq")
        first = young.age <= 1
        way = grad / square.sqrt().clamp(min=float(group["eps"]))
        if group["clip_exp"] is not None:
            most = ((young.age - 1.0) ** float(group["clip_exp"])).to(way.dtype)
            way = torch.minimum(torch.maximum(way, -most), most)
        mean = torch.where(first, mean, mean + (1.0 - float(group["betas"][0])) * (way - mean))
        kept = 1.0 - lost_share(group, lr=lr) if apart else 1.0
        return StepResult(
            value=torch.where(first, young.value, young.value * kept - lr * mean),
            state={
                "exp_avg": mean,
                "exp_avg_sq": torch.where(first, grad**2, young.now("exp_avg_sq")),
            },
        )

    def horizon(self, group: Options) -> int | None:
        """The first update, or never."""
        return 1 if group["clip_exp"] is None else None
