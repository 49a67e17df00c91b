"""RAdam's step for a unit that has its own step count."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.functional.moments import as_fine, bias_correction, safe_root


def radam_factors(
    age: Tensor, *, lr: float | Tensor, beta1: float, beta2: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What an age is in RAdam's step: three numbers, none of which grows with it.

    Args:
        age: Number of updates that went into the moments, at least 1; floating point.
        lr: Learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.

    Returns:
        The length lr / (1 - beta1^age); the rectification r * sqrt(1 - beta2^age) with a minus sign, 0 before it
        begins; and the length again, 0 after that.

    Examples:
        >>> radam_factors(torch.tensor([1.0]), lr=1.0, beta1=0.5, beta2=0.999)
        (tensor([2.]), tensor([-0.]), tensor([2.]))
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
    """What RAdam multiplies the first moment by.

        rate = plain - length * rectified * inverse

    Args:
        inverse: 1 / (sqrt(v) + eps). Read, never written.
        length: As `radam_factors` has it; broadcasts to `inverse`.
        rectified: Likewise.
        plain: Likewise.

    Returns:
        The rate, of the shape of `inverse`.
    """
    return plain - (length * rectified) * inverse


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
        exp_avg: First moment m, any shape. Read, never written.
        exp_avg_sq: Second moment v, same shape.
        age: Number of updates that went into the moments, at least 1; broadcasts to the moments.
        lr: Learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
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
