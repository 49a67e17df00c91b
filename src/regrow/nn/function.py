"""The eager layer as one node of autograd: few passes over memory, and at most one activation saved.

Called by `nn/kernel.py`, which chooses between this and the plain formula; the arithmetic is in `nn/rows.py`.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from regrow.nn.formula import arithmetic, scaled, wide
from regrow.nn.plain import are_plain
from regrow.nn.rows import Gradients, Numbers, Saved, control_rows, have_rows, row_gradients

KNOWN_INPUT = 2.0**-15
"""The output tells the input where |b| eps is at most this times |g|: an error of 2^-15 of (input - k mean) near 1."""


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
        kind = arithmetic(maps.dtype)
        numbers = Numbers(*(each.to(kind) for each in (mean_scale, gain, bias)))
        y = torch.empty_like(maps)
        control = control_rows if have_rows(maps) else _control
        mean = control(maps, numbers, out=y, dims=dims, relu=relu)
        # Where no gain is learnt, the output has only to tell where the ReLU was shut, which it does whatever b and g
        # are.
        is_output = relu and (not needs[2] or _tells_input(maps, numbers))
        saved = None
        if needs[2] or (relu and any(needs)):
            saved = y if is_output else maps
        # The mean has a gradient in second derivatives only. Zeros in its place would be made and added in every step.
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(saved, mean, mean_scale, gain, bias)
        ctx.settings = {"dims": dims, "relu": relu, "is_output": is_output}
        ctx.shape, ctx.dtype = maps.shape, maps.dtype
        return y, mean

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients; by operations that can be differentiated in turn where somebody will."""
        grad, mean_grad = cast("tuple[Tensor | None, Tensor | None]", grad_outputs)
        needs: tuple[bool, ...] = ctx.needs_input_grad[:4]
        maps, mean, *given = cast("list[Tensor]", list(ctx.saved_tensors))
        saved = Saved(maps=maps, mean=mean, **ctx.settings)
        if grad is None:
            if mean_grad is None or not needs[0]:
                return (None,) * 6
            positions = math.prod(ctx.shape[-saved.dims :])
            # The output took no part, only its mean did: in the derivative of a derivative.
            spread = wide(mean_grad / positions, saved.dims).expand(ctx.shape)
            return (spread.to(ctx.dtype), None, None, None, None, None)
        numbers = Numbers(*(each.to(mean.dtype) for each in given))
        tensors = [each for each in (grad, mean_grad, maps, mean, *given) if each is not None]
        # Somebody differentiates the backward pass, transforms it, or has another memory format: the quick way writes
        # into memory, which autograd would not see.
        quick = not torch.is_grad_enabled() and are_plain(tensors) and have_rows(maps, grad)
        gradients = row_gradients if quick else _gradients
        found = gradients(grad, numbers, saved, mean_grad=mean_grad, wants_maps=needs[0])
        scale = -(numbers.gain * mean * found.total)
        x = None if found.maps is None else found.maps.to(ctx.dtype)
        sums = (scale, found.product, found.total)
        asked = [each if need else None for each, need in zip(sums, needs[1:], strict=True)]
        return (x, *_summed(asked, given), None, None)


def _summed(values: list[Tensor | None], like: list[Tensor]) -> list[Tensor | None]:
    """Each (*S, C) over all samples, in the dtype of its own: in one call, which is what small maps cost."""
    there = [each for each in values if each is not None]
    if not there:
        return values
    sums = iter(torch.stack(there).view(len(there), -1, there[0].shape[-1]).sum(1).unbind())
    return [
        None if each is None else next(sums).to(own.dtype)
        for each, own in zip(values, like, strict=True)
    ]


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
    """`control_rows` for memory formats and devices without rows."""
    k, g, b = (wide(each, dims) for each in numbers)
    y, mean = scaled(maps.to(g.dtype), k, g, b, dims=dims)
    out.copy_(y.relu_() if relu else y)
    return mean.view(maps.shape[:-dims])


def _gradients(
    grad: Tensor, numbers: Numbers, saved: Saved, *, mean_grad: Tensor | None, wants_maps: bool
) -> Gradients:
    """`row_gradients` by operations that autograd, transforms and every device know."""
    dims, axes = saved.dims, tuple(range(-saved.dims, 0))
    k, g, b = (wide(each, dims) for each in numbers)
    mean = wide(saved.mean, dims)
    come = grad.to(g.dtype)
    away: Tensor | None = None  # x - k mean
    if saved.maps is not None:
        kept = saved.maps.to(g.dtype)
        y = kept if saved.is_output else torch.addcmul(b - g * k * mean, kept, g)
        if saved.relu:
            # Not `y > 0`: nan passes its gradient on, as torch's ReLU does.
            come = torch.where(y.detach() <= 0, 0.0, come)
        away = (kept - b) / g if saved.is_output else kept - k * mean
    total = come.sum(axes)
    drawn = -(numbers.gain * numbers.mean_scale) * total
    drawn = drawn if mean_grad is None else drawn + mean_grad
    x = g * come + wide(drawn / math.prod(grad.shape[-dims:]), dims) if wants_maps else None
    return Gradients(maps=x, total=total, product=None if away is None else (come * away).sum(axes))
