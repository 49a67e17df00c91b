"""Automatic gain control: a share of each map's mean is taken away, what is left is scaled (Deep Control)."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.errors import ShapeError


def gain_control(
    maps: Tensor,
    *,
    mean_scale: Tensor,
    gain: Tensor,
    bias: Tensor,
    dims: int,
    relu: bool = False,
) -> Tensor:
    """Take a share of its mean from each map of each sample, scale what is left, and shift it.

        y = g (x - k mean of x over the positions) + b,     with `relu`: max(y, 0)

    No sample sees another, and nothing is remembered: training and evaluation are the same computation. What batch
    normalisation does with the statistics of a batch, this does with one number a map.

    Args:
        maps: x, (*S, C, *positions), floating point.
        mean_scale: k, (C,) or (*S', C) that broadcasts to (*S, C).
        gain: g, likewise.
        bias: b, likewise.
        dims: How many axes at the end are positions: 1, 2 or 3.
        relu: Set negative outputs to 0.

    Returns:
        y, of the shape and the dtype of `maps`. 16-bit numbers are averaged and scaled in float32, and rounded once.

    Edge cases:
        No channel axis, no position, k, g or b of other channels, or maps that are not real floating point: a
        `ShapeError`. k = 0, g = 1, b = 0 is the identity (but -0 may become 0). One position with k = 1 leaves the bias
        alone (`regrow.nn.GainControl2d` refuses it). A NaN or an infinite number in a map makes that map of that sample
        NaN or infinite, also where k = 0, and no other: neither other channels nor other samples. No samples: an empty
        tensor.

    Source:
        Ruff 2017, "Deep Control", abstract: "a scaled per sample map mean subtraction from the raw convolutional
        filter output followed by scaling of the difference"; what is ours is told at `regrow.nn.GainControl2d`.

    Examples:
        >>> one = torch.ones(1)
        >>> gain_control(torch.tensor([[1.0, 2.0, 6.0]]), mean_scale=one, gain=2 * one, bias=0 * one, dims=1)
        tensor([[-4., -2.,  6.]])
    """
    check_maps(maps, dims=dims, where="gain_control")
    leading = maps.shape[:-dims]
    for name, each in (("mean_scale", mean_scale), ("gain", gain), ("bias", bias)):
        _check_fits(each, leading, name=name)
    kind = arithmetic(maps.dtype)
    x = maps.to(kind)
    k, g, b = (wide(each.to(kind), dims) for each in (mean_scale, gain, bias))
    y, _ = scaled(x, k, g, b, dims=dims)
    return (y.relu() if relu else y).to(maps.dtype)


def scaled(x: Tensor, k: Tensor, g: Tensor, b: Tensor, *, dims: int) -> tuple[Tensor, Tensor]:
    """The formula without its ReLU, and the means, (*S, C, 1, ...); k, g and b are `wide`, and all of one dtype."""
    mean = x.mean(tuple(range(-dims, 0)), keepdim=True)
    shift = torch.addcmul(b, -(g * k), mean)
    return torch.addcmul(shift, x, g), mean  # one multiply-add an element


def wide(numbers: Tensor, dims: int) -> Tensor:
    """With `dims` axes of one position."""
    return numbers.reshape(*numbers.shape, *(1 for _ in range(dims)))


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """What numbers of a dtype are averaged and scaled in: itself, or float32 for those of 16 bits."""
    return torch.float32 if dtype.itemsize < 4 else dtype


def _check_fits(numbers: Tensor, leading: torch.Size, *, name: str) -> None:
    """Refuse what would make the output larger than the input: (3,) for maps of one channel."""
    shape = numbers.shape
    if len(shape) == 1 and shape[0] == leading[-1]:
        return
    pairs = zip(reversed(shape), reversed(leading), strict=False)
    if len(shape) > len(leading) or any(one not in {1, other} for one, other in pairs):
        raise ShapeError(
            f"{name} must broadcast to {tuple(leading)}, got the shape {tuple(shape)} (gain_control)"
        )


def check_maps(maps: Tensor, *, dims: int, where: str) -> None:
    """Refuse, by a ShapeError, what has no mean over positions; `where` says who asked."""
    if dims not in {1, 2, 3}:
        raise ShapeError(f"dims must be 1, 2 or 3, got {dims!r} ({where})")
    if not maps.is_floating_point():
        raise ShapeError(
            f"the input must be real floating point numbers, got {maps.dtype}: convert it first ({where})"
        )
    if maps.ndim < dims + 1:
        raise ShapeError(
            f"the input must have a channel axis and {dims} position axes, got the shape {tuple(maps.shape)} ({where})"
        )
    if 0 in maps.shape[-dims:]:
        raise ShapeError(
            f"every map must have at least one position, got the shape {tuple(maps.shape)}: "
            f"its mean would be 0 / 0 ({where})"
        )
