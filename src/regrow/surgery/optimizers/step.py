"""One step of an optimizer on the young part of a tensor: what was before, what was made, what should be there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

Options = Mapping[str, Any]
"""One of the optimizer's parameter groups."""

FORGOTTEN: Final = 1e-9
"""What depends on the age less than this is below float32's rounding."""


def fine(tensor: Tensor) -> torch.dtype:
    """The type in which the arithmetic on a tensor is done: float32, or float64 where it is float64."""
    return torch.float64 if tensor.dtype is torch.float64 else torch.float32


def counting_type(tensor: Tensor) -> torch.dtype:
    """The type of numbers that are kept of a tensor's entries: float64, where the device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def is_coarse(tensor: Tensor) -> bool:
    """Whether a tensor has fewer digits than float32."""
    return tensor.dtype not in {torch.float32, torch.float64}


def learning_rate(group: Options) -> float | Tensor:
    """The group's learning rate; a tensor of one element without axes."""
    lr = group["lr"]
    return lr.reshape(()) if isinstance(lr, Tensor) else float(lr)


def lost_share(group: Mapping[str, Any], *, lr: float | Tensor) -> float | Tensor:
    """The share of itself that a parameter loses in a step by decoupled weight decay.

        lr * weight_decay,    corrected: lr^2 / max_lr * weight_decay

    Source:
        Corrected: Defazio, "Why gradients rapidly increase near the end of training", arXiv 2506.02285.
    """
    decay = group["weight_decay"]
    if not group.get("corrected_weight_decay", False):
        return lr * decay
    return lr**2 / group["max_lr_snapshot"] * decay


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What was kept of the young part of a tensor right before a step."""

    value: Tensor  # a copy of the parameter's
    # The gradient of the whole tensor: itself, or a copy where the optimizer will write into it.
    grad: Tensor
    copied: bool  # whether it is a copy
    # Copies of the entries of the optimizer's state that the family wants to see again.
    state: Mapping[str, Tensor]
    # The tensor's number of updates then; None where the optimizer does not count.
    count: Tensor | None


@dataclass(frozen=True, kw_only=True)
class YoungStep:
    """A step that the optimizer has just made on the young part of one tensor."""

    parameter: nn.Parameter  # the whole tensor, as the optimizer has left it
    state: Mapping[str, Any]  # the optimizer's state of it, after the step
    at: tuple[slice | Tensor, ...]  # where its young part is
    group: Options
    step: Tensor  # the tensor's own number of updates, this one included
    # The entries' own numbers of updates, this one included; at least 1; broadcasts to the part.
    age: Tensor
    # What `grown` has made of what the family keeps, of the shape of `age`.
    kept: Mapping[str, Tensor]
    before: Snapshot | None  # the tensor right before the step, if that was asked for

    def now(self, key: str) -> Tensor:
        """An entry of the optimizer's state, in the fine type."""
        return self.state[key][self.at].to(fine(self.parameter))

    @property
    def left(self) -> Tensor:
        """The parameter as the optimizer has left it, in the fine type."""
        return self.parameter.detach()[self.at].to(fine(self.parameter))

    def earlier(self, key: str) -> Tensor:
        """An entry of the optimizer's state as it was right before the step, in the fine type."""
        return self._before.state[key].to(fine(self.parameter))

    @property
    def value(self) -> Tensor:
        """The parameter right before the step, in the fine type."""
        return self._before.value.to(fine(self.parameter))

    def direction(self, *, weight_decay: float | Tensor) -> Tensor:
        """The gradient as the optimizer has used it: the sign of maximize, and coupled weight decay."""
        before = self._before
        # A hook may have put another gradient in place of the one that was seen; one that runs after the step may
        # have removed it. A fused optimizer under a gradient scaler has by now unscaled it, in place.
        there = None if before.copied else self.parameter.grad
        grad = (before.grad if there is None else there)[self.at].to(fine(self.parameter))
        grad = -grad if self.group.get("maximize", False) else grad
        return grad + weight_decay * self.value if weight_decay != 0 else grad

    @property
    def _before(self) -> Snapshot:
        if self.before is None:
            raise AssertionError("this family declares that it needs the tensor before the step")
        return self.before


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step should have left in the young part."""

    value: Tensor | None = None  # the parameter; None where the optimizer's own step is right
    # Entries of the optimizer's state.
    state: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


def as_fine(age: Tensor, moment: Tensor) -> Tensor:
    """Ages in a floating point type at least as fine as a moment's, so that their factors do not blur it."""
    return age.to(torch.promote_types(age.dtype, moment.dtype))


def bias_correction(beta: float, age: Tensor) -> Tensor:
    """1 - beta^age: what an average that began at zero must be divided by.

    By expm1, since 1 - 0.999 in float32 has lost four of its seven digits.

    Examples:
        >>> bias_correction(0.5, torch.tensor([1.0, 2.0]))
        tensor([0.5000, 0.7500])
    """
    # For beta 0 the logarithm is -inf, and 1 - e^-inf is the 1 that is wanted: no case of its own.
    return -torch.expm1(age * (math.log(beta) if beta > 0 else -math.inf))
