"""What fresh weights are drawn from: a name, or a function of the user's, as a distribution.

Called by `loop/start`, once a layer, when a recipe is attached. What is drawn is in `draw/keys.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError, ShapeError, UnknownNameError

InitSpec = str | Callable[[Tensor], object]
"""A name such as ``kaiming_normal`` or ``uniform:0.01``, or a function that fills a weight tensor in place."""

_NAMES = (
    "torch_default",
    "uniform:BOUND",
    "normal:STD",
    "trunc_normal:STD[:BOUND]",
    "xavier_uniform[:GAIN]",
    "xavier_normal[:GAIN]",
    "kaiming_uniform[:fan_in|fan_out]",
    "kaiming_normal[:fan_in|fan_out]",
    "orthogonal[:GAIN]",
    "match",
)


@dataclass(frozen=True, kw_only=True)
class Initialiser:
    """A layer's initialiser, resolved to a distribution and its scale."""

    # What the numbers are drawn from.
    distribution: Literal["uniform", "normal", "trunc_normal", "orthogonal", "custom"]
    # Bound of the uniform, standard deviation of the normals (of the truncated one: before it is cut off), gain of
    # the orthogonal matrix.
    scale: float = 1.0
    bound: float = 2.0  # where the truncated normal is cut off, on both sides
    fill: Callable[[Tensor], object] | None = None  # the user's own function, for ``custom``


def _number(spec: str, argument: str, where: str) -> float:
    try:
        value = float(argument)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(
            f"init '{spec}' needs a number above 0 after the colon, got '{argument}' ({where})"
        )
    return value


def resolve_initialiser(spec: InitSpec, *, weight: Tensor, where: str) -> Initialiser:
    """Turn a name or a function into a distribution for one layer.

    Scales follow `torch.nn.init` with its default arguments: bounds and standard deviations from the
    fan of `weight`'s shape, Kaiming with the gain of ReLU, and ``torch_default`` as `nn.Conv2d` and
    `nn.Linear` draw their own weights, uniform within 1 / sqrt(fan_in).

    Args:
        spec: ``torch_default``, ``uniform:BOUND``, ``normal:STD``, ``trunc_normal:STD`` (within -2 and 2, as torch's),
            ``trunc_normal:STD:BOUND``, ``xavier_uniform``, ``xavier_normal``, ``kaiming_uniform``, ``kaiming_normal``,
            ``orthogonal``, ``match`` (normal with the standard deviation that `weight` has now), or a function that
            fills a tensor of `weight`'s shape in place.
        weight: The layer's weight, (O, I, *kernel) or (O, I). Read, never written.
        where: The layer, for messages.

    Returns:
        The layer's initialiser.

    Raises:
        UnknownNameError: The name is not known.
        ConfigError: The name's argument is missing or out of range, ``match`` meets constant weights, or `spec` is
            neither a name nor a function.
        ShapeError: `weight` has fewer than two axes.

    Examples:
        >>> resolve_initialiser("kaiming_normal", weight=torch.zeros(8, 2, 5, 5), where="conv1").scale
        0.2
    """
    if weight.ndim < 2:
        raise ShapeError(f"a weight must have at least 2 axes, got {tuple(weight.shape)} ({where})")
    if not isinstance(spec, str):
        if not callable(spec):
            raise ConfigError(f"init must be a name or a function, got {spec!r} ({where})")
        return Initialiser(distribution="custom", fill=spec)
    name, _, argument = spec.partition(":")
    receptive = math.prod(weight.shape[2:])
    fan_in, fan_out = weight.shape[1] * receptive, weight.shape[0] * receptive
    if name == "torch_default" and not argument:
        return Initialiser(distribution="uniform", scale=1.0 / math.sqrt(fan_in))
    if name in {"uniform", "normal", "trunc_normal"}:
        number, *bound = argument.split(":", 1) if name == "trunc_normal" else [argument]
        return Initialiser(
            distribution=name,  # pyright: ignore[reportArgumentType] # one of three
            scale=_number(spec, number, where),
            bound=_number(spec, bound[0], where) if bound else 2.0,
        )
    if name in {"xavier_uniform", "xavier_normal"}:
        gain = _number(spec, argument, where) if argument else 1.0
        std = gain * math.sqrt(2.0 / (fan_in + fan_out))
    elif name in {"kaiming_uniform", "kaiming_normal"} and argument in {"", "fan_in", "fan_out"}:
        std = nn.init.calculate_gain("relu") / math.sqrt(
            fan_out if argument == "fan_out" else fan_in
        )
    elif name == "orthogonal":
        return Initialiser(
            distribution="orthogonal", scale=_number(spec, argument, where) if argument else 1.0
        )
    elif name == "match" and not argument:
        std = (
            float(weight.detach().to(torch.float64).std(correction=0))
            if weight.numel() > 1
            else 0.0
        )
        if not (std > 0 and math.isfinite(std)):
            raise ConfigError(
                f"init 'match' needs weights that vary, their standard deviation is {std} ({where})"
            )
    else:
        raise UnknownNameError("initialiser", spec, _NAMES, where=where)
    if name.endswith("uniform"):
        return Initialiser(distribution="uniform", scale=math.sqrt(3.0) * std)
    return Initialiser(distribution="normal", scale=std)
