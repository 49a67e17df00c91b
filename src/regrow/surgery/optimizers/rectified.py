"""RAdam, timm's RAdamLegacy and AdaBelief: the early steps are rectified, by the unit's own age.

Found by `surgery/optimizers/registry` and `foreign`; called as `base` beside it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from regrow.surgery.optimizers.adam import safe_root
from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.recomputed import RecomputedMoments
from regrow.surgery.optimizers.step import (
    FORGOTTEN,
    Options,
    YoungStep,
    as_fine,
    bias_correction,
    learning_rate,
)

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


@final
class RAdam(MomentFamily):
    """Moments zeroed; bias corrections and rectification of the unit's own age."""

    zeroed = ("exp_avg", "exp_avg_sq")
    rest = _REST

    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """Bias correction and rectification."""
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return radam_factors(age, lr=learning_rate(group), beta1=beta1, beta2=beta2)

    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """The inverse of its root."""
        return safe_root(second).add_(float(group["eps"])).reciprocal_()

    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """RAdam's."""
        return radam_rate(prepared, *factors)


def radam_update(
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    age: Tensor,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
) -> Tensor:
    """RAdam's step for entries that have been updated `age` times since their moments were zero.

    While too few gradients have been seen to know their variance, RAdam steps along the plain first
    moment; afterwards Adam's step is shortened by a factor that grows to 1. Both depend on the age, so
    that a renewed unit among older ones needs its own, or it skips its warm-up.

        m_hat = m / (1 - beta1^age)
        rho   = rho_inf - 2 * age * beta2^age / (1 - beta2^age),    rho_inf = 2 / (1 - beta2) - 1
        r     = sqrt((rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho))
        update = lr * m_hat * r * sqrt(1 - beta2^age) / (sqrt(v) + eps)    where rho > 5
        update = lr * m_hat                                                elsewhere

    Args:
        exp_avg, exp_avg_sq, age, lr, beta1, beta2: As in `regrow.functional.adam_update`.
        eps: Added to the denominator, before the correction, as torch does.

    Returns:
        What RAdam subtracts from the parameter, same shape as `exp_avg`, without any decoupled weight decay.

    Edge cases:
        beta2 so small that rho_inf is at most 5: never rectified, at any age.

    Source:
        Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020, Algorithm 2;
        the threshold 5 (the paper: 4) and the place of eps are torch's.

    Examples:
        The first step follows the gradient itself:

        >>> m, v = torch.tensor([0.1 * 2.0]), torch.tensor([0.001 * 4.0])
        >>> radam_update(m, v, age=torch.tensor([1.0]), lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8)
        tensor([0.0200])
    """
    factors = radam_factors(as_fine(age, exp_avg), lr=lr, beta1=beta1, beta2=beta2)
    length, rectified, plain = (factor.to(exp_avg.dtype) for factor in factors)
    inverse = safe_root(exp_avg_sq).add_(eps).reciprocal_()
    return exp_avg * radam_rate(inverse, length, rectified, plain)


def radam_factors(
    age: Tensor, *, lr: float | Tensor, beta1: float, beta2: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What an age is in RAdam's step: three numbers, none of which grows with it.

    The length lr / (1 - beta1^age); the rectification r * sqrt(1 - beta2^age) with a minus sign, 0 before it begins;
    and the length again, 0 after that.
    """
    correction = bias_correction(beta2, age)
    longest = 2.0 / (1.0 - beta2) - 1.0
    seen = longest - 2.0 * age * (1.0 - correction) / correction
    sure = seen > 5.0
    seen = torch.where(sure, seen, 6.0)  # anything at which the root exists: not used
    ratio = (seen - 4) * (seen - 2) * longest / ((longest - 4) * (longest - 2) * seen)
    rectified = torch.where(sure, ratio, 0.0).sqrt() * correction.sqrt()
    length = lr / bias_correction(beta1, age)
    return length, -rectified, torch.where(sure, 0.0, length)


def radam_rate(inverse: Tensor, length: Tensor, rectified: Tensor, plain: Tensor) -> Tensor:
    """What RAdam multiplies the first moment by: plain - length * rectified / (sqrt(v) + eps)."""
    return plain - (length * rectified) * inverse
