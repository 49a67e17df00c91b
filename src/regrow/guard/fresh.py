"""How long a fresh parameter is: what a step is measured by where the weights themselves are next to nothing."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the base of all convolutions

from regrow.draw import drawn_anew
from regrow.graph.plain import has_columns

_DENSE: Final = (nn.Linear.reset_parameters, _ConvNd.reset_parameters)
"""Weight and bias uniform within 1 / sqrt(fan_in)."""


def fresh_length(owner: nn.Module, attribute: str, parameter: Tensor) -> float:
    """The length, above 0, that a parameter has when its module (`owner`) has just been made; only shapes are read.

    It is worked out where torch's own initialiser is known: sqrt of the number of entries times their variance. A
    class with a ``reset_parameters`` of its own draws a copy of the module once, without torch's generators, and so
    does the constructor of a layer that has none. What has no initialiser that is known, or one that a copy cannot run,
    is taken for a layer's weight, and a vector (a norm's scale, a gate) for ones, whatever it holds: those that begin
    at 0 must be able to leave it.

    Examples:
        >>> fresh_length(nn.BatchNorm2d(9), "bias", torch.zeros(9))
        3.0
        >>> layer = nn.Linear(3, 9)
        >>> fresh_length(layer, "weight", layer.weight)
        1.7320508075688772
    """
    reset = getattr(type(owner), "reset_parameters", None)
    sides = [size for size in parameter.shape if size > 1]
    fan_in = _fan_in(owner, parameter)
    if reset in _DENSE:
        return math.sqrt(parameter.numel() / (3 * fan_in))
    if len(sides) <= 1:
        return math.sqrt(parameter.numel())
    if reset is nn.Embedding.reset_parameters:
        return math.sqrt(parameter.numel())
    drawn = _drawn(owner, attribute) if reset is not None or has_columns(owner) else None
    if drawn is not None and drawn > 0:
        return drawn
    return math.sqrt(parameter.numel() / (3 * math.prod(sides[1:])))


def _fan_in(owner: nn.Module, parameter: Tensor) -> int:
    weight = getattr(owner, "weight", None)
    shape = weight.shape if isinstance(weight, Tensor) else parameter.shape
    return max(math.prod(shape[1:]), 1)


def _drawn(owner: nn.Module, attribute: str) -> float | None:
    """The length in a copy of the module that has drawn itself; None where it cannot."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            make = drawn_anew(owner)
            if make is None:
                return None
            torch.default_generator.manual_seed(0)
            length = float(getattr(make(), attribute).double().norm())
    except Exception:  # whatever a foreign class raises: its shape is all that is known then
        return None
    return length if math.isfinite(length) else None
