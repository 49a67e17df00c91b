"""The layer as torch.compile sees it: the formula by rows, which becomes few passes over memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class TracedGainControl(torch.autograd.Function):
    """`regrow.functional.gain_control` in the form that the compiler fuses best, forward and backward.

    What autograd derives from the formula sums over samples and positions at once, of which the compiler makes passes
    over memory of their own; and for the ReLU it stores a mask of bool, whose writing is slow on processors. Here every
    sum over positions is one loop over a row (a map of a sample), shared with the gradient of the input, and the mask
    is worked out anew from the input, the one activation that is saved.

    Edge cases:
        The same function as the eager layer; its bits are the compiler's, a few roundings away.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(  # noqa: PLR0917 # autograd takes no keywords
        maps: Tensor, mean_scale: Tensor, gain: Tensor, bias: Tensor, dims: int, relu: bool
    ) -> tuple[Tensor, Tensor]:
        """The output and the sum of each map, (R, 1): an output too, so that second derivatives go through it."""
        x, k, g, b = _rows(maps, mean_scale, gain, bias, dims=dims)
        total = x.sum(1, keepdim=True)
        y = torch.addcmul(_shift(k, g, b, total=total, positions=x.shape[1]), x, g)
        return (y.relu() if relu else y).to(maps.dtype).view(maps.shape), total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Save the input, and the sums: the compiler would not work them out again in the loop that needs them."""
        maps, mean_scale, gain, bias, ctx.dims, ctx.relu = inputs
        ctx.save_for_backward(maps, mean_scale, gain, bias, output[1])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients, by operations that can be differentiated and fused."""
        grad, total_grad = grad_outputs
        maps, *given, total_x = ctx.saved_tensors
        x, k, g, b = _rows(maps, *given, dims=ctx.dims)
        d, positions = grad.reshape(x.shape).to(x.dtype), x.shape[1]
        if ctx.relu:
            y = torch.addcmul(_shift(k, g, b, total=total_x, positions=positions), x, g)
            d = torch.where(y <= 0, 0.0, d)
        total = d.sum(1, keepdim=True)
        # Not by way of the mean here either: it would be stored instead of the sums, in a loop of its own.
        product = (d * torch.addcmul(x, -k / positions, total_x)).sum(1, keepdim=True)
        scaled = -(g * (total * total_x)) / positions
        back = torch.addcmul(total_grad - (g * k) * (total / positions), g, d)
        leading = maps.shape[: -ctx.dims]
        return (
            back.to(maps.dtype).view(maps.shape),
            *(
                each.view(leading).sum_to_size(own.shape).to(own.dtype)
                for each, own in zip((scaled, product, total), given, strict=True)
            ),
            None,
            None,
        )


def _rows(
    maps: Tensor, mean_scale: Tensor, gain: Tensor, bias: Tensor, *, dims: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All as (R, positions) and (R, 1): loops over equal ranges are what the compiler joins."""
    kind = torch.float32 if maps.dtype.itemsize < 4 else maps.dtype
    leading = maps.shape[:-dims]
    count, positions = math.prod(leading), math.prod(maps.shape[-dims:])
    k, g, b = (each.to(kind).expand(leading).reshape(count, 1) for each in (mean_scale, gain, bias))
    return maps.reshape(count, positions).to(kind), k, g, b


def _shift(k: Tensor, g: Tensor, b: Tensor, *, total: Tensor, positions: int) -> Tensor:
    """What is added to g x. Not by way of the mean: the compiler would store it in a loop that parts the others."""
    return torch.addcmul(b, -(g * k) / positions, total)
