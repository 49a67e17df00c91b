"""How long a step can be at most, where that is known before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from regrow.guard.step_parameters import lengths_of


def longest_steps(
    optimizer: Optimizer, parameters: Sequence[Tensor], lengths: Sequence[float]
) -> list[float] | None:
    """Bounds of the steps of stochastic gradient descent, by the triangle inequality.

        d  <=  norm(g) + decay * norm(w),     b  <=  momentum * norm(buffer) + d
        step  <=  rate * b,     with Nesterov  rate * (d + momentum * b)

    Args:
        optimizer: Which is about to step.
        parameters: Those that have a gradient, on the CPU.
        lengths: Those of their gradients.

    Returns:
        One a parameter; None for every other optimizer, and in half precision, whose rounding moves weights too.
    """
    if type(optimizer) is not SGD or any(
        each.dtype not in {torch.float32, torch.float64} for each in parameters
    ):
        return None
    group_of = {each: group for group in optimizer.param_groups for each in group["params"]}
    groups = [group_of[each] for each in parameters]
    if any(isinstance(group["lr"], Tensor) for group in groups):
        return None
    weights = _lengths(parameters, [bool(group["weight_decay"]) for group in groups])
    held = [optimizer.state[each].get("momentum_buffer") for each in parameters]
    buffers = _lengths(held, [each is not None for each in held])
    return [
        _bound(group, grad, weight, buffer)
        for group, grad, weight, buffer in zip(groups, lengths, weights, buffers, strict=True)
    ]


def _bound(group: dict[str, Any], grad: float, weight: float, buffer: float) -> float:
    momentum, rate = abs(float(group["momentum"])), abs(float(group["lr"]))
    slope = grad + abs(float(group["weight_decay"])) * weight
    carried = momentum * buffer + slope * max(1.0, abs(1.0 - float(group["dampening"])))
    return rate * (slope + momentum * carried if group["nesterov"] else carried)


def _lengths(tensors: Sequence[Any], wanted: Sequence[bool]) -> list[float]:
    """Of the wanted ones; 0 for the others."""
    chosen = [each for each, is_wanted in zip(tensors, wanted, strict=True) if is_wanted]
    found = iter(lengths_of(chosen).tolist() if chosen else [])
    return [next(found) if is_wanted else 0.0 for is_wanted in wanted]
