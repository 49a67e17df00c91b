"""What an optimizer would have done to a unit that has its own step count.

Called by `surgery/optimizers`, which make the steps of young entries right.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def as_fine(age: Tensor, moment: Tensor) -> Tensor:
    """Ages in a floating point type at least as fine as a moment's, so that their factors do not blur it.

    Args:
        age: Numbers of updates, any type.
        moment: What the factors will be multiplied by.

    Returns:
        The ages.

    Examples:
        >>> as_fine(torch.tensor([3]), torch.tensor([0.5])).dtype
        torch.float32
    """
    return age.to(torch.promote_types(age.dtype, moment.dtype))


def bias_correction(beta: float, age: Tensor) -> Tensor:
    """1 - beta^age: what an average that began at zero must be divided by.

    By expm1, since 1 - 0.999 in float32 has lost four of its seven digits.

    Args:
        beta: Decay of the average, 0 to 1 (1 excluded).
        age: Number of updates that went into the average, floating point.

    Returns:
        The correction, of the shape and type of `age`.

    Edge cases:
        beta 0: 1 from the first update on.

    Examples:
        >>> bias_correction(0.5, torch.tensor([1.0, 2.0]))
        tensor([0.5000, 0.7500])
    """
    # For beta 0 the logarithm is -inf, and 1 - e^-inf is the 1 that is wanted: no case of its own.
    return -torch.expm1(age * (math.log(beta) if beta > 0 else -math.inf))


def adam_factors(
    age: Tensor, *, lr: float | Tensor, beta1: float, beta2: float
) -> tuple[Tensor, Tensor]:
    """What an age is in Adam's step: two numbers, none of which grows with it.

        length = lr / (1 - beta1^age),    spread = 1 / sqrt(1 - beta2^age)

    Args:
        age: Number of updates that went into the moments, at least 1; floating point.
        lr: Learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.

    Returns:
        Length and spread, of the shape of `age`.

    Examples:
        >>> adam_factors(torch.tensor([1.0, 2.0]), lr=1.0, beta1=0.5, beta2=0.75)
        (tensor([2.0000, 1.3333]), tensor([2.0000, 1.5119]))
    """
    return lr / bias_correction(beta1, age), bias_correction(beta2, age).rsqrt()


def safe_root(second: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The root of a second moment, not quite 0 where that is 0.

    MKL's root takes thirty times as long on zeros, of which dead filters have many. The root of the smallest normal
    number, 1e-19 in float32, is nothing compared with Adam's eps.

    Args:
        second: The second moment. Read, never written.
        out: Where to put it; None: a new tensor.

    Returns:
        A tensor of its shape.

    Examples:
        >>> safe_root(torch.tensor([4.0, 0.0])) > 0
        tensor([True, True])
    """
    return torch.clamp(second, min=torch.finfo(second.dtype).tiny, out=out).sqrt_()


def adam_rate(
    root: Tensor, length: Tensor, spread: Tensor, *, eps: float, out: Tensor | None = None
) -> Tensor:
    """What Adam multiplies the first moment by.

        rate = length / (root * spread + eps)

    Args:
        root: The root of the second moment. Read, and written only where it is `out`.
        length: As `adam_factors` has it; broadcasts to `root`.
        spread: Likewise.
        eps: Added to the denominator.
        out: Where to put it; None: a new tensor.

    Returns:
        The rate, of the shape of `root`.
    """
    below = torch.mul(root, spread, out=out).add_(eps)
    return torch.div(length, below, out=out)


def adam_update(
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    age: Tensor,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
) -> Tensor:
    """Adam's step for entries that have been updated `age` times since their moments were zero.

    Adam divides its moments by 1 - beta^t, with one t for a whole tensor. A unit whose moments were
    set to zero at t = 1000 needs its own count: with the tensor's, its first steps are up to five
    times too long; with the count reset for the whole tensor, all its neighbours' steps are too short.

        update = lr * (m / (1 - beta1^age)) / (sqrt(v) / sqrt(1 - beta2^age) + eps)

    Args:
        exp_avg: First moment m, any shape. Read, never written.
        exp_avg_sq: Second moment v (amsgrad: its running maximum), same shape.
        age: Number of updates that went into the moments, at least 1; broadcasts to the moments.
        lr: Learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the denominator.

    Returns:
        What Adam subtracts from the parameter, same shape as `exp_avg`, without any decoupled weight decay.

    Source:
        Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, Algorithm 1.

    Examples:
        After one update with gradient 2 the step is the learning rate, whatever the gradient's size:

        >>> m, v = torch.tensor([0.1 * 2.0]), torch.tensor([0.001 * 4.0])
        >>> adam_update(m, v, age=torch.tensor([1.0]), lr=0.01, beta1=0.9, beta2=0.999, eps=0.0)
        tensor([0.0100])
    """
    factors = adam_factors(as_fine(age, exp_avg), lr=lr, beta1=beta1, beta2=beta2)
    length, spread = (factor.to(exp_avg.dtype) for factor in factors)
    return exp_avg * adam_rate(safe_root(exp_avg_sq), length, spread, eps=eps)


def adamax_update(
    exp_avg: Tensor, exp_inf: Tensor, *, age: Tensor, lr: float | Tensor, beta1: float
) -> Tensor:
    """Adamax's step for entries that have been updated `age` times since their state was zero.

        update = lr / (1 - beta1^age) * m / u

    Args:
        exp_avg: First moment m, any shape. Read, never written.
        exp_inf: Decaying maximum u of the gradient's size, same shape; torch adds eps inside of it.
        age: Number of updates that went into the moment, at least 1; broadcasts to the moment.
        lr: Learning rate.
        beta1: Decay of the first moment.

    Returns:
        What Adamax subtracts from the parameter, same shape as `exp_avg`.

    Source:
        Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, Algorithm 2.

    Examples:
        >>> m, u = torch.tensor([0.1 * 2.0]), torch.tensor([2.0])
        >>> adamax_update(m, u, age=torch.tensor([1.0]), lr=0.01, beta1=0.9)
        tensor([0.0100])
    """
    age = as_fine(age, exp_avg)
    return (lr / bias_correction(beta1, age)).to(exp_avg.dtype) * exp_avg / exp_inf
