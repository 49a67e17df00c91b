"""AdaBelief and timm's RAdamLegacy: the early steps are rectified, by the unit's own age."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from regrow.functional.moments import as_fine, bias_correction
from regrow.surgery.optimizers.recomputed import RecomputedMoments
from regrow.surgery.optimizers.step import FORGOTTEN, Options, YoungStep, learning_rate

_REST = FORGOTTEN**1.6
"""The rectification lags by age * beta2^age, so that the bound on beta2^age is a stricter one."""

_LEAST = 5.0
"""From this length of the average on its variance can be rectified; RAdam's paper has 4, as an approximation."""


def rectified_update(
    mean: Tensor,
    spread: Tensor,
    *,
    age: Tensor,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    degenerated: bool,
) -> Tensor:
    """A step with the rectified length, and without the second moment as long as that cannot be rectified.

    Source:
        Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020, Algorithm 2.
    """
    age = as_fine(age, mean)
    correction = bias_correction(beta2, age)
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * age * (1.0 - correction) / correction
    known = length >= _LEAST
    ratio = (
        correction
        * ((length - 4.0) / (longest - 4.0))
        * ((length - 2.0) / length)
        * (longest / (longest - 2.0))
    )
    unbiased = lr / bias_correction(beta1, age)
    rectified = (unbiased * torch.where(known, ratio, 0.0).sqrt()).to(mean.dtype) * mean / spread
    plain = unbiased.to(mean.dtype) * mean if degenerated else torch.zeros_like(mean)
    return torch.where(known, rectified, plain)


@final
class RAdamLegacy(RecomputedMoments):
    """Moments zeroed; bias correction and rectification of the unit's own age. Its arithmetic is in float32 always."""

    zeroed = ("exp_avg", "exp_avg_sq")
    rest = _REST

    def update(self, young: YoungStep) -> Tensor:
        """RAdam's, with eps added to the uncorrected moment."""
        group = young.group
        return rectified_update(
            young.now("exp_avg"),
            young.now("exp_avg_sq").sqrt() + float(group["eps"]),
            age=young.age,
            lr=learning_rate(group),
            beta1=float(group["betas"][0]),
            beta2=float(group["betas"][1]),
            degenerated=True,
        )


@final
class AdaBelief(RecomputedMoments):
    """Mean, variance and its maximum zeroed; bias corrections, and rectification, of the unit's own age.

    Source:
        Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients", NeurIPS 2020.
    """

    zeroed = ("exp_avg", "exp_avg_var", "max_exp_avg_var")
    rest = _REST

    def share(self, group: Options) -> float | Tensor:
        """The share of itself that the parameter loses."""
        if not group["decoupled_decay"]:
            return 0.0
        lr = 1.0 if group["fixed_decay"] else learning_rate(group)
        return lr * group["weight_decay"]

    def overwrites_grad(self, group: Options) -> bool:
        """Earlier versions add coupled decay to the gradient in place."""
        return bool(not group["decoupled_decay"] and group["weight_decay"] != 0)

    def update(self, young: YoungStep) -> Tensor:
        """With ``rectify`` RAdam's, else Adam's, of the variance, to which the optimizer has added eps already."""
        group, mean = young.group, young.now("exp_avg")
        beta1, beta2 = (float(beta) for beta in group["betas"])
        eps, lr = float(group["eps"]), learning_rate(group)
        if group["rectify"]:
            return rectified_update(
                mean,
                young.now("exp_avg_var").sqrt() + eps,
                age=young.age,
                lr=lr,
                beta1=beta1,
                beta2=beta2,
                degenerated=bool(group["degenerated_to_sgd"]),
            )
        age = as_fine(young.age, mean)
        variance = young.now("max_exp_avg_var" if group["amsgrad"] else "exp_avg_var")
        spread = variance.sqrt() / bias_correction(beta2, age).sqrt().to(mean.dtype) + eps
        return (lr / bias_correction(beta1, age)).to(mean.dtype) * mean / spread
