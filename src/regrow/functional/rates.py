"""Learning rates that fall with a unit's own number of updates: Adagrad's and ASGD's."""

from __future__ import annotations

import torch
from torch import Tensor


def adagrad_rate(age: Tensor, *, lr: float | Tensor, lr_decay: float) -> Tensor:
    """Adagrad's learning rate at the age-th update.

        rate[age] = lr / (1 + (age - 1) * lr_decay)

    Args:
        age: Number of the update, from 1; floating point.
        lr: Learning rate.
        lr_decay: The speed of its fall.

    Returns:
        The rate, of the shape of `age`.

    Examples:
        >>> adagrad_rate(torch.tensor([1.0, 11.0]), lr=0.5, lr_decay=0.1)
        tensor([0.5000, 0.2500])
    """
    return lr / (1.0 + (age - 1.0) * lr_decay)


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
