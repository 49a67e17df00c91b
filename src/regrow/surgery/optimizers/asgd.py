"""ASGD: learning rate and averaging share are numbers of a tensor in torch; a renewed unit has its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import Options, StepResult, YoungStep, fine, learning_rate


@final
class ASGD(Family):
    """Learning rate (eta), averaging share (mu) and average (ax) of the unit's own age.

    torch computes the rate of the next step at the end of each step, from the learning rate of that moment;
    the first rate is the learning rate of the first step. Both are kept that way, in torch's type, a number a
    birth. The learning rates of old and new never meet, so young entries stay young: the step of such a tensor is
    computed a second time from then on.
    """

    zeroed = ("ax",)
    others = ("eta", "mu")
    kept = ("ax",)
    ages = True
    settles = None

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """Room for the learning rate, which the first step sets."""
        return {"eta": torch.zeros((), dtype=state["eta"].dtype, device="cpu")}

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """The learning rate of the next step, and of this one."""
        stored, lr = kept["eta"].dtype, learning_rate(group)
        first = torch.as_tensor(lr, dtype=stored, device=age.device)
        coming = asgd_rate(age, lr=lr, lambd=float(group["lambd"]), alpha=float(group["alpha"]))
        return {"eta": coming.to(stored), "rate": torch.where(age <= 1, first, kept["eta"])}

    def result(self, young: YoungStep) -> StepResult:
        """ASGD's step with the unit's own learning rate and share."""
        group, kind, stored = young.group, fine(young.parameter), young.state["eta"].dtype
        lambd, rate = float(group["lambd"]), young.kept["rate"].to(young.age.dtype)
        direction = young.direction(weight_decay=group["weight_decay"])
        value = young.value * (1.0 - lambd * rate).to(kind) - rate.to(kind) * direction
        share = asgd_share(young.age, t0=float(group["t0"])).to(stored).to(kind)
        average = young.earlier("ax")
        average = torch.where(share == 1, value, average + (value - average) * share)
        return StepResult(value=value, state={"ax": average})


def asgd_rate(age: Tensor, *, lr: float | Tensor, lambd: float, alpha: float) -> Tensor:
    """ASGD's learning rate after `age` updates, which its next update uses.

        eta[age] = lr / (1 + lambd * lr * age)^alpha

    Args:
        age: Number of updates made; floating point.
        lr: Learning rate.
        lambd: Decay of the parameter.
        alpha: Power of the fall.

    Returns:
        The rate, of the shape of `age`.

    Source:
        Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 1992,
        in the form of torch.optim.ASGD.

    Examples:
        >>> asgd_rate(torch.tensor([0.0, 10.0]), lr=0.1, lambd=3.0, alpha=0.5)
        tensor([0.1000, 0.0500])
    """
    return lr / (1.0 + lambd * lr * age) ** alpha


def asgd_share(age: Tensor, *, t0: float) -> Tensor:
    """The share of the newest value in ASGD's average at the age-th update.

        mu[age] = 1 / max(1, age - 1 - t0),    mu[1] = 1

    Args:
        age: Number of the update, from 1; floating point.
        t0: Updates before the averaging begins.

    Returns:
        The share, of the shape and type of `age`.

    Edge cases:
        A negative t0: the first share is 1 all the same.

    Examples:
        >>> asgd_share(torch.tensor([1.0, 5.0]), t0=2.0)
        tensor([1.0000, 0.5000])
    """
    share = 1.0 / (age - 1.0 - t0).clamp(min=1.0)
    return torch.where(age <= 1.0, 1.0, share)
