"""Gain control of rows of numbers in few passes over memory: the eager layer's arithmetic, without autograd.

Called by `nn/function.py`, forward and backward.

A row is one map of one sample. Work goes by chunks of rows that stay in the processor's cache, so that what is used
twice comes from memory once. Each step of a chunk is an operation of ATen that streams: a mean along the rows; one
multiply-add an element (that of batch normalisation in evaluation mode, with a row as a channel); both sums of the
backward pass at once (likewise). Three passes over memory forward and backward each: read, read again from the cache,
write.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 2**20
"""Numbers that a thread works on at once: 4 MiB of float32. Smaller ones pay for calls, larger ones leave the cache."""

_batch_norm = torch.ops.aten.native_batch_norm.out
_batch_norm_sums = torch.ops.aten.native_batch_norm_backward.default
_masked = torch.ops.aten.threshold_backward.grad_input


class Numbers(NamedTuple):
    """k, g and b of each channel, (C,), or of each row, (R,), in the dtype of the arithmetic."""

    mean_scale: Tensor
    gain: Tensor
    bias: Tensor


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What the backward pass has of the forward one."""

    maps: Tensor | None  # the input, or the output where the ReLU is in it; None: nothing
    is_output: bool  # it is the output
    mean: Tensor  # (*S, C)
    dims: int
    relu: bool  # then `maps` is there


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """What the backward pass gives."""

    maps: Tensor | None  # gradient of the input; None where nobody asked
    # (*S, C): sum over the positions of the gradient that came in, where the ReLU let it through
    total: Tensor
    # (*S, C): sum of the same times (input - k mean); None where nothing was saved to tell
    product: Tensor | None


def have_rows(*tensors: Tensor | None) -> bool:
    """Each map is one run of memory, on the CPU."""
    return all(
        each is None or (each.device.type == "cpu" and each.is_contiguous()) for each in tensors
    )


def control_rows(maps: Tensor, numbers: Numbers, *, out: Tensor, dims: int, relu: bool) -> Tensor:
    """Gain control of maps that have rows into `out`; the means, (*S, C) in the dtype of the arithmetic."""
    x, rows = _as_rows(maps, dims), _by_row(numbers, maps.shape[:-dims])
    mean = torch.empty_like(rows.gain)
    affine = _Affine(x, rows.gain)
    shares = -(rows.gain * rows.mean_scale)
    each = torch.stack([shares, rows.gain, rows.bias])
    for xs, ys, means, parts, gains, biases in _chunks((x, _as_rows(out, dims), mean), each):
        here = xs.to(mean.dtype)
        torch.mean(here, -1, out=means)
        there = ys if here is xs else here
        affine(here, gains, torch.addcmul(biases, parts, means), out=there)
        if relu:
            there.relu_()
        if there is not ys:
            ys.copy_(there)
    return mean.view(maps.shape[:-dims])


def row_gradients(
    grad: Tensor, numbers: Numbers, saved: Saved, *, mean_grad: Tensor | None, wants_maps: bool
) -> Gradients:
    """The backward pass of `control_rows`, as `nn/function.py` has it."""
    shape, leading = grad.shape, grad.shape[: -saved.dims]
    grad, rows, mean = _as_rows(grad, saved.dims), _by_row(numbers, leading), saved.mean.reshape(-1)
    kind = rows.gain.dtype
    total, product = torch.empty_like(rows.gain), torch.empty_like(rows.gain)
    out = torch.empty_like(grad) if wants_maps else grad
    have = grad if saved.maps is None else _as_rows(saved.maps, saved.dims)
    affine = _Affine(grad, rows.gain)
    shares = -(rows.gain * rows.mean_scale)
    centre = rows.bias if saved.is_output else rows.mean_scale * mean
    extra = torch.zeros_like(total) if mean_grad is None else mean_grad.reshape(-1)
    each = torch.stack([shares, rows.gain, rows.bias, mean, centre, extra])
    for ds, ss, xs, totals, products, *some in _chunks((grad, have, out, total, product), each):
        parts, gains, biases, means, centres, extras = some
        come, kept = ds.to(kind), ss.to(kind)
        # Straight into the result where that has the arithmetic's type; 16-bit numbers are rounded once, at the end.
        there = xs if wants_maps and xs.dtype == kind else torch.empty_like(come)
        if saved.relu:
            y = kept
            if not saved.is_output:
                y = affine(
                    kept, gains, torch.addcmul(biases, parts, means), out=torch.empty_like(kept)
                )
            come = _masked(come, y, 0, grad_input=there)
        if saved.maps is None:
            torch.sum(come, -1, out=totals)
        else:
            affine.sums(come, kept, centres, total=totals, product=products)
        if wants_maps:
            # Only now: the sum over the whole row has to be there before its first number can be written, which is why
            # a row must stay in the cache between the two passes.
            shift = torch.addcmul(extras, parts, totals).div_(ds.shape[1])
            affine(come, gains, shift, out=there)
            if there is not xs:
                xs.copy_(there)
    if saved.is_output:
        # From the output the sums are of d (z - b), which is g times what is asked for.
        product = product / rows.gain
    return Gradients(
        maps=out.view(shape) if wants_maps else None,
        total=total.view(leading),
        product=None if saved.maps is None else product.view(leading),
    )


class _Affine:
    """ATen's batch normalisation in evaluation mode, with mean 0, variance 1 and one channel a row."""

    def __init__(self, maps: Tensor, like: Tensor) -> None:
        size = min(len(like), _rows_at_once(maps))
        self._zeros, self._ones = like.new_zeros(size), like.new_ones(size)
        self._nothing = like.new_empty(0)

    def __call__(self, x: Tensor, scale: Tensor, shift: Tensor, *, out: Tensor) -> Tensor:
        """Fill `out`, which may be `x`, with scale * x + shift: one rounding where it can be."""
        zeros, ones = self._zeros[: len(scale)], self._ones[: len(scale)]
        none = self._nothing
        moments = (scale, shift, zeros, ones, False, 0.0, 0.0)
        _batch_norm(x[None], *moments, out=out[None], save_mean=none, save_invstd=none)
        return out

    def sums(
        self, grad: Tensor, x: Tensor, centre: Tensor, *, total: Tensor, product: Tensor
    ) -> None:
        """Sum of grad, and sum of grad * (x - centre), in one pass over both."""
        ones = self._ones[: len(centre)]
        asked = [False, True, True]
        _, products, totals = _batch_norm_sums(
            grad[None], x[None], None, centre, ones, None, None, False, 0.0, asked
        )
        total.copy_(totals)
        product.copy_(products)


def _as_rows(maps: Tensor, dims: int) -> Tensor:
    return maps.view(math.prod(maps.shape[:-dims]), math.prod(maps.shape[-dims:]))


def _by_row(numbers: Numbers, leading: torch.Size) -> Numbers:
    """(C,) to (R,), R the maps of all samples."""
    joined = torch.stack(numbers).view(3, *(1 for _ in leading[1:]), -1)
    return Numbers(*joined.expand(3, *leading).reshape(3, -1).unbind())


def _rows_at_once(maps: Tensor) -> int:
    return max(1, CHUNK * torch.get_num_threads() // max(1, maps.shape[1]))


def _chunks(maps: Sequence[Tensor], numbers: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of each, and of each line of numbers: together, as a slice costs as much as a small operation."""
    count, size = len(maps[0]), _rows_at_once(maps[0])
    for first in range(0, count, size):
        length = min(size, count - first)
        if length == count:
            yield (*maps, *numbers.unbind())
        else:
            parts = (each.narrow(0, first, length) for each in maps)
            yield (*parts, *numbers.narrow(1, first, length).unbind())
