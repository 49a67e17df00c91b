"""A gradient that an optimizer does not get over: found before the step, by its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.guard.step_parameters import lengths_of

_HARMLESS: Final = 255.0
"""Its square is finite in every type that an optimizer keeps its state in."""


def poisons(
    optimizer: Optimizer,
    parameters: Sequence[Tensor],
    grads: Sequence[Tensor],
    lengths: Sequence[float],
    *,
    scale: Tensor | None = None,
) -> bool:
    """Whether an optimizer would be spoilt for ever by these gradients.

    Who keeps an average of squares keeps an infinity: a gradient that is finite is enough, as 1e25 in float32, whose
    square is not. Which optimizers square cannot be asked; so the square is looked at for all of them, in the type of
    what the optimizer keeps for the parameter, or else of the parameter.
    In float16 there is room for gradients below 256 alone.

    `lengths` are those of the gradients without the `scale` that these are still multiplied by.
    """
    if all(length <= _HARMLESS for length in lengths):  # never with NaN
        return False
    for parameter, grad, length in zip(parameters, grads, lengths, strict=True):
        most = torch.finfo(_kept_in(optimizer, parameter)).max
        if length * length <= most:
            continue
        largest = float((grad._values() if grad.is_sparse else grad).abs().amax())
        if scale is not None:
            largest /= float(scale)
        if not largest * largest <= most:
            return True
    return False


def gradient_lengths(grads: Sequence[Tensor], *, scale: Tensor | None = None) -> list[float]:
    """The length of each gradient: no entry is larger, and it is found in a tenth of the time of the largest entry."""
    lengths = lengths_of([grad._values() if grad.is_sparse else grad for grad in grads])
    return (lengths if scale is None else lengths / scale.to(lengths.device)).tolist()


def _kept_in(optimizer: Optimizer, parameter: Tensor) -> torch.dtype:
    """The narrowest type of what an optimizer keeps for each entry of a parameter."""
    state = optimizer.state.get(parameter, {})
    kinds = [
        each.dtype
        for each in state.values()
        if isinstance(each, Tensor)
        and each.shape == parameter.shape
        and (each.is_floating_point() or each.is_complex())
    ]
    return min(kinds or [parameter.dtype], key=lambda kind: torch.finfo(kind).max)
