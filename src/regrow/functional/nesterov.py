"""NAdam's momentum and step for a unit that has its own step count."""

from __future__ import annotations

from torch import Tensor

from regrow.functional.moments import as_fine, bias_correction

_DECAY = 0.96
"""The base of NAdam's momentum schedule; a constant of the method."""


def nadam_momentum(age: Tensor, *, beta1: float, momentum_decay: float) -> Tensor:
    """NAdam's momentum at the age-th update.

        mu[age] = beta1 * (1 - 0.5 * 0.96^(age * momentum_decay))

    Args:
        age: Number of the update, from 1; floating point.
        beta1: Decay of the first moment.
        momentum_decay: The schedule's speed, psi.

    Returns:
        The momentum, of the shape and type of `age`.

    Source:
        Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples:
        >>> import torch
        >>> nadam_momentum(torch.tensor([1.0]), beta1=0.9, momentum_decay=0.0)
        tensor([0.4500])
    """
    return beta1 * (1.0 - 0.5 * _DECAY ** (age * momentum_decay))


def nadam_update(
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    age: Tensor,
    product: Tensor,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    momentum_decay: float,
) -> Tensor:
    """NAdam's step for entries that have been updated `age` times since their state was fresh.

    torch keeps the product of all momenta once for a whole tensor; a renewed unit needs its own.

        update = lr * ((1 - mu[age]) / (1 - P) * g + mu[age + 1] / (1 - P * mu[age + 1]) * m)
                 / (sqrt(v / (1 - beta2^age)) + eps),        P = mu[1] * ... * mu[age]

    Args:
        grad: Gradient g of this step with coupled weight decay, any shape.
        exp_avg: First moment m, same shape. Read, never written.
        exp_avg_sq: Second moment v, same shape.
        age: Number of updates that went into the moments, at least 1; broadcasts to the moments.
        product: P, the shape of `age`.
        lr: Learning rate.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        eps: Added to the denominator.
        momentum_decay: The momentum schedule's speed.

    Returns:
        What NAdam subtracts from the parameter, same shape as `grad`, without any decoupled weight decay.

    Source:
        Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.

    Examples:
        >>> import torch
        >>> g, age = torch.tensor([2.0]), torch.tensor([1.0])
        >>> mu = nadam_momentum(age, beta1=0.9, momentum_decay=0.0)
        >>> nadam_update(g, 0.1 * g, 0.001 * g**2, age=age, product=mu, lr=0.01, beta1=0.9, beta2=0.999, eps=0.0,
        ...              momentum_decay=0.0)
        tensor([0.0106])
    """
    age = as_fine(age, exp_avg)
    now = nadam_momentum(age, beta1=beta1, momentum_decay=momentum_decay)
    coming = nadam_momentum(age + 1.0, beta1=beta1, momentum_decay=momentum_decay)
    product = product.to(age.dtype)
    of_grad = (lr * (1.0 - now) / (1.0 - product)).to(grad.dtype)
    of_average = (lr * coming / (1.0 - product * coming)).to(grad.dtype)
    spread = (exp_avg_sq / bias_correction(beta2, age).to(grad.dtype)).sqrt() + eps
    return (of_grad * grad + of_average * exp_avg) / spread
