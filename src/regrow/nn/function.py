"""The eager layer as one node of autograd: few passes over memory, and at most one activation saved.

Called by `nn/kernel.py`, which chooses between this and the plain formula; the arithmetic is in `nn/rows.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from regrow.nn.formula import arithmetic
from regrow.nn.plain import are_plain
from regrow.nn.rows import Gradients, Numbers, SavedTensors, control_rows, row_gradients

KNOWN_INPUT = 2.0**-15
"""The output tells the input where |b| eps is at most this times |g|: an error of 2^-15 of (input - k mean) near 1."""


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What the backward pass knows apart from tensors."""

    dims: int
    relu: bool
    is_output: bool
    shape: torch.Size
    dtype: torch.dtype


class GainControlFunction(torch.autograd.Function):
    """y = g (x - k mean) + b, perhaps with a ReLU, and its derivatives of any order.

    Saved for the backward pass, in addition to one mean a map:

        no ReLU     the input; nothing of that size where the gain is fixed
        ReLU        the output z, which the next layer keeps anyway. Where z > 0 it tells the input:
                    x - k mean = (z - b) / g. Where |b| is too large against |g| in a channel (g = 0 above all) for the
                    division to be accurate, and for 16-bit numbers, the input instead; the ReLU is then worked out anew

    The first derivatives are, with d = dL/dy where z > 0, P positions, sums over positions and samples:

        dL/dx = g (d - k / P sum d)     dL/dg = sum d (x - k mean)     dL/dk = -g sum (mean sum d)     dL/db = sum d

    Edge cases:
        The output has the bits of `regrow.functional.gain_control` where the processor multiplies and adds in one step
        (AVX2, AVX-512), else it is within one rounding of |g x| + |b - g k mean| in the arithmetic's dtype. Nothing
        depends on what is in other rows. How many there are can change the last bits only where several threads share
        the sum of a lone row: a single map, or one that has a chunk to itself. There the formula's sum may also be
        rounded otherwise. On CUDA nobody looks at the numbers, since that would wait for the device: the input is
        saved.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 # autograd takes no keywords
        ctx: Any,
        maps: Tensor,
        mean_scale: Tensor,
        gain: Tensor,
        bias: Tensor,
        dims: int,
        relu: bool,
    ) -> tuple[Tensor, Tensor]:
        """The output and the means (*S, C): those are an output too, so that second derivatives go through them."""
        needs = ctx.needs_input_grad[:4]
        numbers = _numbers(maps.dtype, mean_scale, gain, bias)
        y = torch.empty_like(maps)
        if _has_rows(maps):
            x, out = _as_rows(maps, dims), _as_rows(y, dims)
            mean = control_rows(x, _by_row(numbers, maps.shape[:-dims]), out=out, relu=relu)
            mean = mean.view(maps.shape[:-dims])
        else:
            mean = _control(maps, numbers, out=y, dims=dims, relu=relu)
        # Where no gain is learnt, the output has only to tell where the ReLU was shut, which it does whatever b and g
        # are.
        is_output = relu and (not needs[2] or _tells_input(maps, numbers))
        saved = None
        if needs[2] or (relu and any(needs)):
            saved = y if is_output else maps
        # The mean has a gradient in second derivatives only. Zeros in its place would be made and added in every step.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(saved, mean, mean_scale, gain, bias)
        ctx.settings = _Settings(
            dims=dims, relu=relu, is_output=is_output, shape=maps.shape, dtype=maps.dtype
        )
        return y, mean

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients; by operations that can be differentiated in turn where somebody will."""
        grad, mean_grad = cast("tuple[Tensor | None, Tensor | None]", grad_outputs)
        settings: _Settings = ctx.settings
        needs: tuple[bool, ...] = ctx.needs_input_grad[:4]
        maps, mean, *given = cast("list[Tensor]", list(ctx.saved_tensors))
        if grad is None:
            if mean_grad is None or not needs[0]:
                return (None,) * 6
            positions = math.prod(settings.shape[-settings.dims :])
            # The output took no part, only its mean did: in the derivative of a derivative.
            spread = _wide(mean_grad / positions, settings.dims).expand(settings.shape)
            return (spread.to(settings.dtype), None, None, None, None, None)
        numbers = _numbers(settings.dtype, *given)
        saved = SavedTensors(maps=maps, is_output=settings.is_output, mean=mean)
        tensors = [each for each in (grad, mean_grad, maps, mean, *given) if each is not None]
        # Somebody differentiates the backward pass, transforms it, or has another memory format: the quick way writes
        # into memory, which autograd would not see.
        if torch.is_grad_enabled() or not are_plain(tensors) or not _has_rows(maps, grad):
            found = _gradients(grad, numbers, saved, settings, mean_grad=mean_grad)
        else:
            found = _row_gradients(
                grad, numbers, saved, settings, mean_grad=mean_grad, wants_maps=needs[0]
            )
        scale = -(numbers.gain * saved.mean * found.total)
        x = None if found.maps is None else found.maps.to(settings.dtype)
        sums = (scale, found.product, found.total)
        asked = [each if need else None for each, need in zip(sums, needs[1:], strict=True)]
        return (x if needs[0] else None, *_summed(asked, given), None, None)


def _numbers(dtype: torch.dtype, mean_scale: Tensor, gain: Tensor, bias: Tensor) -> Numbers:
    """In the dtype of the arithmetic."""
    kind = arithmetic(dtype)
    return Numbers(mean_scale=mean_scale.to(kind), gain=gain.to(kind), bias=bias.to(kind))


def _by_row(numbers: Numbers, leading: torch.Size) -> Numbers:
    """(C,), or (*S, C), to (R,), R the maps of all samples."""
    each = (numbers.mean_scale, numbers.gain, numbers.bias)
    if any(one.ndim != 1 for one in each):  # numbers of each sample
        k, g, b = (one.expand(leading).reshape(-1) for one in each)
    else:
        joined = torch.stack(each).view(3, *(1 for _ in leading[1:]), -1)
        k, g, b = joined.expand(3, *leading).reshape(3, -1).unbind()
    return Numbers(mean_scale=k, gain=g, bias=b)


def _summed(values: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
    """Each (*S, C) over all samples, in the shape and dtype of its own: in one call, which is what small maps cost."""
    if any(own.ndim != 1 for own in like):
        return [
            None if each is None else each.sum_to_size(own.shape).to(own.dtype)
            for each, own in zip(values, like, strict=True)
        ]
    there = [number for number, each in enumerate(values) if each is not None]
    found: list[Tensor | None] = [None] * len(values)
    if there:
        channels = like[0].shape[-1]
        joined = torch.stack([each for each in values if each is not None])
        sums = joined.view(len(there), -1, channels).sum(1).unbind()
        for number, total in zip(there, sums, strict=True):
            found[number] = total.to(like[number].dtype)
    return found


def _has_rows(*tensors: Tensor | None) -> bool:
    """Each map is one run of memory, on the CPU."""
    return all(
        each is None or (each.device.type == "cpu" and each.is_contiguous()) for each in tensors
    )


def _as_rows(maps: Tensor, dims: int) -> Tensor:
    return maps.view(math.prod(maps.shape[:-dims]), math.prod(maps.shape[-dims:]))


def _wide(numbers: Tensor, dims: int) -> Tensor:
    """With `dims` axes of one position."""
    return numbers.reshape(*numbers.shape, *(1 for _ in range(dims)))


def _tells_input(maps: Tensor, numbers: Numbers) -> bool:
    """Whether (z - b) / g is accurate in every channel."""
    if maps.device.type != "cpu" or maps.dtype != numbers.gain.dtype:
        return False
    about = torch.finfo(maps.dtype)
    gain, bias = numbers.gain.abs(), numbers.bias.abs()
    # A gain of 0 fails here too: then z is b everywhere, and tells nothing of the input.
    clear = (gain * KNOWN_INPUT >= bias * about.eps) & (gain * about.eps >= about.tiny)
    return bool(clear.all())


def _control(maps: Tensor, numbers: Numbers, *, out: Tensor, dims: int, relu: bool) -> Tensor:
    """The formula, for memory formats and devices without rows: the output into `out`; the means."""
    x = maps.to(numbers.gain.dtype)
    mean = x.mean(tuple(range(-dims, 0)))
    shift = torch.addcmul(numbers.bias, -(numbers.gain * numbers.mean_scale), mean)
    y = torch.addcmul(_wide(shift, dims), x, _wide(numbers.gain, dims))
    out.copy_(y.relu_() if relu else y)
    return mean


def _row_gradients(
    grad: Tensor,
    numbers: Numbers,
    saved: SavedTensors,
    settings: _Settings,
    *,
    mean_grad: Tensor | None,
    wants_maps: bool,
) -> Gradients:
    """`row_gradients`, and the shapes around it."""
    leading = settings.shape[: -settings.dims]
    found = row_gradients(
        _as_rows(grad, settings.dims),
        _by_row(numbers, leading),
        SavedTensors(
            maps=None if saved.maps is None else _as_rows(saved.maps, settings.dims),
            is_output=saved.is_output,
            mean=saved.mean.reshape(-1),
        ),
        relu=settings.relu,
        mean_grad=None if mean_grad is None else mean_grad.reshape(-1),
        wants_maps=wants_maps,
    )
    return Gradients(
        maps=None if found.maps is None else found.maps.view(settings.shape),
        total=found.total.view(leading),
        product=None if found.product is None else found.product.view(leading),
    )


def _gradients(
    grad: Tensor,
    numbers: Numbers,
    saved: SavedTensors,
    settings: _Settings,
    *,
    mean_grad: Tensor | None,
) -> Gradients:
    """The same by operations that autograd, transforms and every device know."""
    dims, axes = settings.dims, tuple(range(-settings.dims, 0))
    k, g, b = (_wide(each, dims) for each in (numbers.mean_scale, numbers.gain, numbers.bias))
    mean = _wide(saved.mean, dims)
    come = grad.to(g.dtype)
    away: Tensor | None = None  # x - k mean
    if saved.maps is not None:
        kept = saved.maps.to(g.dtype)
        y = kept if saved.is_output else torch.addcmul(b - g * k * mean, kept, g)
        if settings.relu:
            # Not `y > 0`: nan passes its gradient on, as torch's ReLU does.
            come = torch.where(y.detach() <= 0, 0.0, come)
        away = (kept - b) / g if saved.is_output else kept - k * mean
    total = come.sum(axes)
    drawn = -(numbers.gain * numbers.mean_scale) * total
    drawn = drawn if mean_grad is None else drawn + mean_grad
    return Gradients(
        maps=g * come + _wide(drawn / math.prod(settings.shape[-dims:]), dims),
        total=total,
        product=None if away is None else (come * away).sum(axes),
    )
