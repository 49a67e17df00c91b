"""Adam, AdamW, Adamax: what the step would have been for a unit that has its own count of updates.

Found by `surgery/optimizers/registry`; what it has in common with others of moments is in `moments` beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from regrow.surgery.optimizers.base import updates_until
from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.step import Options, as_fine, bias_correction, learning_rate


class Adam(MomentFamily):
    """Also with amsgrad: moments (and their maximum) zeroed, bias corrections of the unit's own age."""

    zeroed = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def moments(self, group: Options) -> tuple[str, str]:
        """With amsgrad the maximum."""
        return "exp_avg", "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"

    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """Both bias corrections."""
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return adam_factors(age, lr=learning_rate(group), beta1=beta1, beta2=beta2)

    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """Its root."""
        return safe_root(second)

    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """Adam's."""
        length, spread = factors
        return adam_rate(prepared, length, spread, eps=float(group["eps"]))

    def gap(
        self,
        second: Tensor,
        own: Sequence[Tensor],
        theirs: Sequence[Tensor],
        *,
        group: Options,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Taken with the fraction reduced by the spread: one pass less; and all in two tensors.

        To find memory for each pass takes as long as a pass does. Divided and subtracted in one pass, which rounds as
        two do, since the factor between them is -1.
        """
        above, added = theirs
        length, spread = own
        first, other = (None, None) if into is None else into
        root = safe_root(second, out=first)
        taken = torch.add(root, added, out=other)
        torch.div(above, taken, out=taken)
        below = torch.mul(root, spread, out=first).add_(float(group["eps"]))
        return taken.addcdiv_(length, below, value=-1)

    def common(self, factors: Sequence[Tensor], *, group: Options) -> Sequence[Tensor]:
        """Numerator and what is added to the root, both reduced by the spread."""
        length, spread = factors
        return length / spread, float(group["eps"]) / spread


@final
class AdamW(Adam):
    """As Adam; weight decay is decoupled, whether the group says so (torch from 2.7 on) or not."""

    def decoupled(self, group: Options) -> bool:
        """Always."""
        return True


@final
class Adamax(MomentFamily):
    """Moment and decaying maximum zeroed; bias correction of the unit's own age."""

    zeroed = ("exp_avg", "exp_inf")

    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """One bias correction."""
        return (learning_rate(group) / bias_correction(float(group["betas"][0]), age),)

    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """Its inverse."""
        return second.reciprocal()

    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """Adamax's."""
        return prepared * factors[0]

    def horizon(self, group: Options) -> int:
        """Until the moment has forgotten that it began at zero; the maximum is not corrected."""
        return updates_until(float(group["betas"][0]))


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
        exp_avg, age, lr, beta1: As in `adam_update`.
        exp_inf: Decaying maximum u of the gradient's size, same shape; torch adds eps inside of it.

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


def adam_factors(
    age: Tensor, *, lr: float | Tensor, beta1: float, beta2: float
) -> tuple[Tensor, Tensor]:
    """What an age is in Adam's step: lr / (1 - beta1^age) and 1 / sqrt(1 - beta2^age), none of which grows with it."""
    return lr / bias_correction(beta1, age), bias_correction(beta2, age).rsqrt()


def adam_rate(root: Tensor, length: Tensor, spread: Tensor, *, eps: float) -> Tensor:
    """What Adam multiplies the first moment by: length / (root of the second * spread + eps)."""
    return length / (root * spread).add_(eps)


def safe_root(second: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The root of a second moment, not quite 0 where that is 0.

    MKL's root takes thirty times as long on zeros, of which dead filters have many. The root of the smallest normal
    number, 1e-19 in float32, is nothing compared with Adam's eps.

    Examples:
        >>> safe_root(torch.tensor([4.0, 0.0])) > 0
        tensor([True, True])
    """
    return torch.clamp(second, min=torch.finfo(second.dtype).tiny, out=out).sqrt_()
