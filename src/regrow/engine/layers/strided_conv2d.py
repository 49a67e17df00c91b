"""Convolution with a stride, batch-last: unfold over the whole kernel, one matrix product.

With a stride s the rows of the input that a row of the kernel sees do not lie one behind the other, as they do for
`conv2d.py`; but the windows overlap little, so that to unfold both axes,

    U[c, i, j, h, w, b] = x[c, s h + i, s w + j, b]            (KH * KW / s^2 times the input),

costs less than it does there, and torch's own weights are the matrix of the product

    y[o, (h, w, b)] = sum over (c, i, j) of W[o, (c, i, j)] U[(c, i, j), (h, w, b)]

as they lie. One layer of an `engine/plan.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regrow.engine.layers.base import Layer, Setting, maps_of
from regrow.engine.places import At, multiply_
from regrow.engine.steps import Conv2dStep
from regrow.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """One portion of networks and samples: the views that it needs, made once."""

    # The input, and where it goes in the input with a border; None where there is no border.
    given: tuple[Tensor, Tensor] | None
    # The input with its border, as U is filled from it, and U as it is filled.
    windows: tuple[Tensor, Tensor]
    weight: Tensor  # (..., O, F)
    shift: Tensor | None  # the bias, as wide as the output; None where there is none
    columns: Tensor  # u, (..., F, P)
    out: Tensor  # (..., O, P)

    def run(self) -> None:
        """Fill U and the output."""
        if self.given is not None:
            self.given[1].copy_(self.given[0])
        self.windows[1].copy_(self.windows[0])
        if self.shift is not None:
            self.out.copy_(self.shift)
        multiply_(self.out, self.weight, self.columns, beta=0.0 if self.shift is None else 1.0)


@dataclass(frozen=True, kw_only=True)
class _BackPiece:
    """The way back of a portion."""

    grad: Tensor  # of the output, (..., O, P)
    columns: Tensor  # u, (..., F, P), which its own gradient overwrites
    weights: tuple[Tensor, Tensor]  # the weights, and their gradient, (..., O, F)
    shift: Tensor | None  # gradient of the bias, (..., O)
    beta: float  # 0 for the first tile of a network, 1 for the others
    # Gradient of the input with its border; None where nobody asks for that of the input.
    whole: Tensor | None
    # U's gradient at each place of the kernel, and where it goes.
    taps: tuple[tuple[Tensor, Tensor], ...]
    # Of `whole` what is the input's, and that; None where there is no border.
    inside: tuple[Tensor, Tensor] | None

    def run(self) -> None:
        """Add this portion's share to the weights' gradients; multiply and fold."""
        multiply_(self.weights[1], self.grad, self.columns.mT, beta=self.beta)
        if self.shift is not None and self.beta:
            self.shift.add_(self.grad.sum(-1))
        elif self.shift is not None:
            torch.sum(self.grad, -1, out=self.shift)
        if self.whole is None:
            return
        multiply_(self.columns, self.weights[0].mT, self.grad)
        self.whole.zero_()
        for part, place in self.taps:
            place.add_(part)
        if self.inside is not None:
            self.inside[1].copy_(self.inside[0])


class StridedConv2d(Layer):
    """A convolution with any stride, one group, zeros around its input.

    Args:
        source: The layer before.
        setting: Where it is at work.

    Edge cases:
        An input with other channels, or smaller than the kernel: a ShapeError.
    """

    def __init__(self, step: Conv2dStep, source: Layer, setting: Setting) -> None:
        height, width = maps_of(source, channels=step.channels, path=step.path)
        self._step = step  # what it computes
        self._size = step.size_of(height, width)
        self._padded = (height + 2 * step.padding[0], width + 2 * step.padding[1])
        if min(self._size) < 1:
            (kh, kw), (down, right) = step.kernel, self._padded
            raise ShapeError(
                f"'{step.path}' has a kernel of {kh}x{kw}, larger than its input with padding, {down}x{right}"
            )
        places = setting.places
        self.out = places.maps(step.filters, *self._size)
        self.grad = places.zeros(*self.out.shape) if setting.learns else None
        samples = self.out.shape[-1]
        features = step.channels * step.kernel[0] * step.kernel[1]
        columns = places.zeros(
            places.networks, places.tiles, features, self._size[0] * self._size[1] * samples
        )
        border = any(step.padding)
        padded = places.maps(step.channels, *self._padded) if border else source.out
        weight = setting.value(step.path, "weight").flatten(2)
        shift = setting.value(step.path, "bias")[..., None] if step.bias else None
        self._forward: list[_Piece] = []
        for at in places.pieces:
            out = self.out[at].flatten(-3)
            self._forward.append(
                _Piece(
                    given=(source.out[at], self._inside(padded[at])) if border else None,
                    windows=(self._windows(padded[at]), self._apart(columns[at], samples)),
                    weight=weight[at[:1]],
                    shift=None if shift is None else shift[at[:1]].expand(out.shape),
                    columns=columns[at],
                    out=out,
                )
            )
        self._backward: list[_BackPiece] = []
        if self.grad is None:
            return
        weight_grad = setting.gradient(step.path, "weight").flatten(2)
        shift_grad = setting.gradient(step.path, "bias") if step.bias else None
        # A first layer's input are the images: nobody asks for their gradient.
        to = source.grad
        folded = places.maps(step.channels, *self._padded) if border and to is not None else to
        for at in places.pieces:
            whole = None if folded is None else folded[at]
            self._backward.append(
                _BackPiece(
                    grad=self.grad[at].flatten(-3),
                    columns=columns[at],
                    weights=(weight[at[:1]], weight_grad[at[:1]]),
                    shift=None if shift_grad is None else shift_grad[at[:1]],
                    beta=float(at[1] != 0),
                    whole=whole,
                    taps=() if whole is None else self._taps(whole, columns[at], samples),
                    inside=self._returned(whole, to, at) if border else None,
                )
            )

    def forward(self) -> None:
        """Tile by tile."""
        for piece in self._forward:
            piece.run()

    def backward(self) -> None:
        """Tile by tile."""
        for piece in self._backward:
            piece.run()

    def _inside(self, whole: Tensor) -> Tensor:
        """The input itself, a view of the one with its border, (..., H, W, b)."""
        (above, left), (height, width) = self._step.padding, self._padded
        return whole[..., above : height - above, left : width - left, :]

    def _windows(self, whole: Tensor) -> Tensor:
        """What U is filled from, (..., C, KH, KW, H_out, W_out, b): a view of (..., C, H, W, b)."""
        (kh, kw), (down, right) = self._step.kernel, self._step.stride
        return whole.unfold(-3, kh, down).unfold(-3, kw, right).movedim((-2, -1), (-5, -4))

    def _apart(self, columns: Tensor, samples: int) -> Tensor:
        """U with its axes apart: (..., F, P) as (..., C, KH, KW, H_out, W_out, b), a view."""
        wide = columns.unflatten(-1, (*self._size, samples))
        return wide.unflatten(-4, (self._step.channels, *self._step.kernel))

    def _taps(
        self, whole: Tensor, columns: Tensor, samples: int
    ) -> tuple[tuple[Tensor, Tensor], ...]:
        """Each place of the kernel in U's gradient, and in that of the input with its border."""
        parts, (kh, kw) = self._apart(columns, samples), self._step.kernel
        (height, width), (down, right) = self._size, self._step.stride
        return tuple(
            (
                parts[..., i, j, :, :, :],
                whole[..., i : i + down * height : down, j : j + right * width : right, :],
            )
            for i in range(kh)
            for j in range(kw)
        )

    def _returned(
        self, whole: Tensor | None, to: Tensor | None, at: At
    ) -> tuple[Tensor, Tensor] | None:
        return None if whole is None or to is None else (self._inside(whole), to[at])
