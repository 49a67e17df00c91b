"""A gradient that an optimizer does not get over: found before the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrow.guard.moved import lengths_of

_HARMLESS: Final = 255.0
"""Its square is finite in every type that an optimizer keeps its state in."""


def poisons(
    optimizer: Optimizer,
    parameters: Sequence[Tensor],
    grads: Sequence[Tensor],
    *,
    scale: Tensor | None = None,
) -> bool:
    """Whether an optimizer would be spoilt for ever by these gradients.

    Who keeps an average of squares keeps an infinity: a gradient that is finite is enough, as 1e25 in float32, whose
    square is not. Which optimizers square cannot be asked; so the square is looked at for all of them, in the type of
    what the optimizer keeps for the parameter, or else of the parameter.

    Args:
        optimizer: Whose state is looked at for its type.
        parameters: What it moves.
        grads: Their gradients. Read, never written.
        scale: What they are still multiplied by.

    Returns:
        True where one of them is NaN or infinite, or its square would be.

    Edge cases:
        A state in half precision (float16) has room for gradients below 256 alone; bfloat16 has float32's.
    """
    filled = [
        (parameter, numbers)
        for parameter, grad in zip(parameters, grads, strict=True)
        if (numbers := grad._values() if grad.is_sparse else grad).numel()
    ]
    if not filled:
        return False
    # No entry is larger than the length, which is found in a twentieth of the time.
    lengths = lengths_of([numbers for _, numbers in filled])
    if scale is not None:
        lengths = lengths / scale.to(lengths.device)
    values: list[float] = lengths.tolist()
    if all(value <= _HARMLESS for value in values):  # never with NaN
        return False
    for (parameter, numbers), length in zip(filled, values, strict=True):
        most = torch.finfo(_kept_in(optimizer, parameter)).max
        if length * length <= most:
            continue
        largest = float(numbers.abs().amax())
        if scale is not None:
            largest /= float(scale)
        if not largest * largest <= most:
            return True
    return False


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
