"""Gain control in the form that is fast where it runs."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from regrow.nn.formula import gain_control
from regrow.nn.function import GainControlFunction
from regrow.nn.plain import are_plain
from regrow.nn.traced import TracedGainControl

SMALL: Final = 2**18
"""Numbers below which the formula's few calls cost less than a Function's in Python."""


def controlled(
    maps: Tensor, *, mean_scale: Tensor, gain: Tensor, bias: Tensor, dims: int, relu: bool
) -> Tensor:
    """`regrow.functional.gain_control`, in the form that is fast where it runs.

    Plain tensors in memory go through `GainControlFunction`. Small ones do not: the formula has the same bits, and its
    calls cost less than a Function's in Python; it keeps an activation more of them. Compilers, exporters, functorch's
    transforms, forward-mode derivatives, fake tensors, subclasses and dispatch modes get the plain formula, which they
    can see through, and so do numbers that differ from sample to sample.
    """
    if torch.compiler.is_dynamo_compiling() and torch.is_grad_enabled() and maps.is_contiguous():
        return TracedGainControl.apply(maps, mean_scale, gain, bias, dims, relu)[0]
    by_channel = mean_scale.ndim == gain.ndim == bias.ndim == 1
    fitting = not torch.compiler.is_compiling() and maps.numel() >= SMALL and by_channel
    if not (fitting and are_plain((maps, mean_scale, gain, bias))):
        return gain_control(maps, mean_scale=mean_scale, gain=gain, bias=bias, dims=dims, relu=relu)
    return GainControlFunction.apply(maps, mean_scale, gain, bias, dims, relu)[0]
