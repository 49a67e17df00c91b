"""What an optimizer would have done to a unit that has its own step count."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _bias_correction(beta: float, count: Tensor) -> Tensor:
    """1 - beta^count; by expm1, since 1 - 0.999 in float32 has lost four of its seven digits."""
    return -torch.expm1(count * (math.log(beta) if beta > 0 else -math.inf))


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
    count = age.to(exp_avg_sq.dtype)
    correction1, correction2 = _bias_correction(beta1, count), _bias_correction(beta2, count)
    return lr * (exp_avg / correction1) / (exp_avg_sq.sqrt() / correction2.sqrt() + eps)
