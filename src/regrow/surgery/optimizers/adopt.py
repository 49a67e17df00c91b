"""ADOPT: the first update only measures the gradient, and later ones are clipped by the age."""

from __future__ import annotations

from typing import final

import torch

from regrow.surgery.optimizers.base import Due, Made, Options, learning_rate
from regrow.surgery.optimizers.options import lost_share
from regrow.surgery.optimizers.recomputed import Recomputed


@final
class Adopt(Recomputed):
    """Moments zeroed; the first update leaves the parameter where it is, and sets the second moment.

    With ``clip_exp`` the normalised gradient is clipped at ``(age - 1)^clip_exp``, which has no limit: then young
    entries stay young.

    Source:
        Taniguchi et al., "ADOPT: modified Adam can converge with any beta2 with the optimal rate", NeurIPS 2024.
    """

    zeroed = ("exp_avg", "exp_avg_sq")
    kept = ("exp_avg", "exp_avg_sq")

    def due(self, made: Made) -> Due:
        """ADOPT's step of the unit's own age.

        Args:
            made: The step.

        Returns:
            The parameter and both moments.
        """
        group, lr = made.group, learning_rate(made.group)
        apart, decay = bool(group["decoupled"]), group["weight_decay"]
        grad = made.direction(weight_decay=0.0 if apart else decay)
        mean, square = made.earlier("exp_avg"), made.earlier("exp_avg_sq")
        first = made.age <= 1
        way = grad / square.sqrt().clamp(min=float(group["eps"]))
        if group["clip_exp"] is not None:
            most = ((made.age - 1.0) ** float(group["clip_exp"])).to(way.dtype)
            way = torch.minimum(torch.maximum(way, -most), most)
        mean = torch.where(first, mean, mean + (1.0 - float(group["betas"][0])) * (way - mean))
        kept = 1.0 - lost_share(group, lr=lr) if apart else 1.0
        return Due(
            value=torch.where(first, made.value, made.value * kept - lr * mean),
            state={
                "exp_avg": mean,
                "exp_avg_sq": torch.where(first, grad**2, made.now("exp_avg_sq")),
            },
        )

    def horizon(self, group: Options) -> int | None:
        """The first update, or never.

        Args:
            group: The options.

        Returns:
            1 without ``clip_exp``.
        """
        return 1 if group["clip_exp"] is None else None
