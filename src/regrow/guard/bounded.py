"""How long a step can be at most, where that is known before it is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer


def longest_steps(
    optimizer: Optimizer, parameters: Sequence[Tensor], lengths: Sequence[float]
) -> list[float] | None:
    """The length of the step of plain gradient descent: rate times gradient.

    Args:
        optimizer: Which is about to step.
        parameters: Those that have a gradient.
        lengths: Those of their gradients.

    Returns:
        One a parameter; None for every other optimizer, for momentum and decay, and in half precision, whose rounding
        moves weights too.
    """
    if type(optimizer) is not SGD:
        return None
    rates: dict[Tensor, float] = {}
    for group in optimizer.param_groups:
        rate = group["lr"]
        if group["momentum"] or group["weight_decay"] or isinstance(rate, Tensor):
            return None
        rates.update(dict.fromkeys(group["params"], abs(float(rate))))
    if any(each.dtype not in {torch.float32, torch.float64} for each in parameters):
        return None
    return [rates[each] * length for each, length in zip(parameters, lengths, strict=True)]
