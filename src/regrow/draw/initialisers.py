"""Fresh weights from the initialiser that a layer had, keyed by filter.

Called by `loop/start` when a recipe is attached (`resolve_initialiser`), and by the renewals (`draw_filters`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from regrow.draw.keys import Key, normal_rows, uniform_rows
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
    """A layer's initialiser, resolved to a distribution and its scale.

    Attributes:
        distribution: What the numbers are drawn from.
        scale: Bound of the uniform, standard deviation of the normals (of the truncated one: before it is cut off),
            gain of the orthogonal matrix.
        bound: Where the truncated normal is cut off, on both sides.
        fill: The user's own function, for ``custom``.
    """

    distribution: Literal["uniform", "normal", "trunc_normal", "orthogonal", "custom"]
    scale: float = 1.0
    bound: float = 2.0
    fill: Callable[[Tensor], object] | None = None


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


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
    fan_in, fan_out = _fans(weight.shape)
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


def _truncated(key: Key, *, filters: Tensor, count: int, std: float, bound: float) -> Tensor:
    """Normal numbers within -bound and bound (in absolute terms, as torch.nn.init), by the inverse distribution."""
    low = 0.5 * (1.0 + math.erf(-bound / std / math.sqrt(2.0)))
    share = low + uniform_rows(key, filters=filters, count=count) * (1.0 - 2.0 * low)
    # Rounding may put the last numbers just beyond the bound.
    return (std * math.sqrt(2.0) * torch.erfinv(2.0 * share - 1.0)).clamp(-bound, bound)


def _orthogonal(key: Key, *, shape: Sequence[int], gain: float) -> Tensor:
    """A whole layer with orthonormal rows (or columns, where there are more rows), as torch.nn.init.orthogonal_."""
    rows, columns = shape[0], math.prod(shape[1:])
    flat = normal_rows(key, filters=torch.arange(rows, device="cpu"), count=columns)
    q, r = torch.linalg.qr(flat.T if rows < columns else flat)
    # QR is free to choose signs: with those of R it is the same matrix whichever library computes it.
    q = q * r.diagonal().sign()
    return gain * (q.T if rows < columns else q)


def _custom(key: Key, *, weight: Tensor, fill: Callable[[Tensor], object]) -> Tensor:
    """A whole layer from the user's function, with torch's own generator seeded by the key and then put back."""
    # Filled with nan, so that what the function leaves out is seen below. Of `empty` it would be old numbers, which
    # differ from run to run.
    scratch = torch.full(weight.shape, math.nan, dtype=weight.dtype, device="cpu")
    name = repr((key.seed, key.step, key.layer, key.purpose)).encode()
    seed = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") >> 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        filled = fill(scratch)
    result = filled if isinstance(filled, Tensor) else scratch
    if result.shape != weight.shape:
        raise ShapeError(
            f"the init function must fill a tensor of shape {tuple(weight.shape)}, "
            f"it returned {tuple(result.shape)} ({key.layer})"
        )
    if not bool(result.isfinite().all()):
        raise ConfigError(
            f"the init function must fill the whole tensor that it is given, in place, with finite "
            f"numbers, or return such a tensor ({key.layer})"
        )
    return result


def draw_filters(
    initialiser: Initialiser,
    *,
    key: Key,
    weight: Tensor,
    filters: Tensor,
    to_rows: Callable[[Tensor], Tensor] = lambda weight: weight.flatten(1),
) -> Tensor:
    """Fresh values for some filters of a layer, one row each.

    Drawn on the CPU in float64 and rounded to the weight's dtype, so that every device gets the same bits.

    Args:
        initialiser: What `resolve_initialiser` gave for this layer.
        key: Seed, step and layer.
        weight: The weight that the values are for; gives shape, dtype and device. Not written.
        filters: Indices of the filters, int64 (R,).
        to_rows: How the layer's weight becomes one row a filter, (O, F); by default its first axis
            numbers the filters.

    Returns:
        (R, F), in `weight`'s dtype, on its device.

    Raises:
        ConfigError: A custom initialiser came without its function.

    Edge cases:
        A user's function and ``orthogonal`` draw the whole layer and the rows are taken from it, so
        that rows drawn together fit together. torch's own generator, which a user's function draws
        from, takes 32 bits of the hashed key.
    """
    wanted = filters.to("cpu", torch.int64)
    rows, count = to_rows(weight).shape
    if initialiser.distribution == "uniform":
        values = initialiser.scale * (2.0 * uniform_rows(key, filters=wanted, count=count) - 1.0)
    elif initialiser.distribution == "normal":
        values = initialiser.scale * normal_rows(key, filters=wanted, count=count)
    elif initialiser.distribution == "trunc_normal":
        values = _truncated(
            key, filters=wanted, count=count, std=initialiser.scale, bound=initialiser.bound
        )
    elif initialiser.distribution == "orthogonal":
        values = _orthogonal(key, shape=(rows, count), gain=initialiser.scale)[wanted]
    else:
        if initialiser.fill is None:
            raise ConfigError(f"a custom initialiser needs its function ({key.layer})")
        values = to_rows(_custom(key, weight=weight, fill=initialiser.fill))[wanted]
    return values.to(device=weight.device, dtype=weight.dtype)
