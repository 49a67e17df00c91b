"""How much of a gradient is left: clipping by its norm, of the whole network or unit by unit."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import FilterRows, Scores

_DIVISOR: Final = 1e-6
"""The least that is divided by, as in the published code of both."""


def adaptive_scale(
    weight: FilterRows, grad: FilterRows, *, clip: float, eps: float = 1e-3
) -> Scores:
    """The share of each unit's gradient that adaptive gradient clipping keeps.

    The ratio of gradient to weight says how much one step would change a unit; the norm of the whole network's gradient
    does not.

        scale = min(1, clip * max(norm(w), eps) / max(norm(g), 1e-6))     unit by unit, Frobenius norms

    Args:
        weight: One row a unit, (*S, O, F). Read, never written.
        grad: Its gradient, (*S, O, F). Read, never written.
        clip: The largest ratio of the norms, above 0.
        eps: The least length of a unit, so that those that begin at 0 can move.

    Returns:
        (*S, O), in float32 or wider; exactly 1 within the limit.

    Edge cases:
        A gradient that is not a number: a scale that is none.

    Source:
        Brock, De, Smith, Simonyan, "High-Performance Large-Scale Image Recognition Without Normalization", ICML 2021,
        equation 3; the released code (nfnets/agc_optax.py) for the divisor.

    Examples:
        >>> adaptive_scale(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.01], [0.0, 1.0]]), clip=0.01)
        tensor([1.0000, 0.0500])
    """
    wide = torch.promote_types(grad.dtype, torch.float32)
    lengths = torch.linalg.vector_norm(weight, dim=-1, dtype=wide).clamp(min=eps)
    slopes = torch.linalg.vector_norm(grad, dim=-1, dtype=wide)
    return torch.where(slopes <= clip * lengths, 1.0, clip * lengths / slopes.clamp(min=_DIVISOR))


def norm_scale(norm: Float[Tensor, "*S"], *, max_norm: float) -> Float[Tensor, "*S"]:
    """The share of a gradient that clipping by its norm keeps.

        scale = min(1, max_norm / (norm + 1e-6))        as torch.nn.utils.clip_grad_norm_

    Args:
        norm: Of the whole network's gradient. Read, never written.
        max_norm: The largest that is let through, above 0.

    Returns:
        Within (0, 1]; exactly 1 within the limit. NaN for a norm that is NaN.

    Examples:
        >>> norm_scale(torch.tensor([0.5, 4.0]), max_norm=1.0)
        tensor([1.0000, 0.2500])
    """
    return (max_norm / (norm + _DIVISOR)).clamp(max=1.0)
