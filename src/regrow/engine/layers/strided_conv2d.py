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

from torch import Tensor

from regrow.engine.layers.base import Layer, Portions, Setting
from regrow.engine.layers.conv2d_geometry import Geometry, geometry_of
from regrow.engine.layers.conv2d_pieces import WeightPiece
from regrow.engine.places import multiply_
from regrow.engine.steps import Conv2dStep


@dataclass(frozen=True, kw_only=True)
class _ForwardPiece:
    """Unfold and multiply."""

    given: Tensor  # the input
    inside: Tensor | None  # where it goes in the input with a border; None where there is no border
    # The input with its border, as U is filled from it, and U as it is filled.
    windows: tuple[Tensor, Tensor]
    weight: Tensor  # (..., O, F)
    shift: Tensor | None  # the bias, as wide as the output; None where there is none
    columns: Tensor  # U, (..., F, P)
    out: Tensor  # (..., O, P)

    def run(self) -> None:
        """Fill U and the output."""
        if self.inside is not None:
            self.inside.copy_(self.given)
        self.windows[1].copy_(self.windows[0])
        if self.shift is not None:
            self.out.copy_(self.shift)
        multiply_(self.out, self.weight, self.columns, beta=0.0 if self.shift is None else 1.0)


@dataclass(frozen=True, kw_only=True)
class _InputPiece:
    """Gradient of the input: that of U by the turned weights, folded."""

    grad: Tensor  # of the output, (..., O, P)
    weight: Tensor  # turned, (..., F, O)
    columns: Tensor  # U, (..., F, P), which its own gradient overwrites
    whole: Tensor  # gradient of the input with its border
    # U's gradient at each place of the kernel, and where it goes.
    taps: tuple[tuple[Tensor, Tensor], ...]
    # Of `whole` what is the input's; None where there is no border.
    inside: Tensor | None
    out: Tensor  # gradient of the input

    def run(self) -> None:
        """Multiply and fold."""
        multiply_(self.columns, self.weight, self.grad)
        self.whole.zero_()
        for part, place in self.taps:
            place.add_(part)
        if self.inside is not None:
            self.out.copy_(self.inside)


class StridedConv2d(Portions):
    """A convolution with any stride, one group, zeros around its input."""

    def __init__(self, step: Conv2dStep, source: Layer, setting: Setting) -> None:
        super().__init__()
        geometry, places = geometry_of(step, source), setting.places
        self.out = places.maps(step.filters, *geometry.size)
        self.grad = places.zeros(*self.out.shape) if setting.learns else None
        features = step.channels * step.kernel[0] * step.kernel[1]
        columns = places.zeros(places.networks, places.tiles, features, geometry.positions)
        border = any(step.padding)
        padded = places.maps(step.channels, *geometry.padded) if border else source.out
        weight = setting.value(step.path, "weight").flatten(2)
        shift = setting.value(step.path, "bias")[..., None] if step.bias else None
        for at in places.pieces:
            out = self.out[at].flatten(-3)
            piece = _ForwardPiece(
                given=source.out[at],
                inside=geometry.inside(padded[at]),
                windows=(_windows(padded[at], step), _apart(columns[at], geometry)),
                weight=weight[at[:1]],
                shift=None if shift is None else shift[at[:1]].expand(out.shape),
                columns=columns[at],
                out=out,
            )
            self._forward.append(piece.run)
        if self.grad is None:
            return
        weight_grad = setting.gradient(step.path, "weight").flatten(2)
        shift_grad = setting.gradient(step.path, "bias") if step.bias else None
        # A first layer's input are the images: nobody asks for their gradient.
        to = source.grad
        folded = places.maps(step.channels, *geometry.padded) if border and to is not None else to
        for at in places.pieces:
            grad = self.grad[at].flatten(-3)
            piece = WeightPiece(
                grad=grad,
                products=((weight_grad[at[:1]], columns[at].mT),),
                shift=None if shift_grad is None else shift_grad[at[:1]],
                beta=float(at[1] != 0),
            )
            self._backward.append(piece.run)
            if to is None or folded is None:
                continue
            piece = _InputPiece(
                grad=grad,
                weight=weight[at[:1]].mT,
                columns=columns[at],
                whole=folded[at],
                taps=_taps(folded[at], _apart(columns[at], geometry), step),
                inside=geometry.inside(folded[at]),
                out=to[at],
            )
            self._backward.append(piece.run)


def _windows(whole: Tensor, step: Conv2dStep) -> Tensor:
    """What U is filled from, (..., C, KH, KW, H_out, W_out, b): a view of (..., C, H, W, b)."""
    (kh, kw), (down, right) = step.kernel, step.stride
    return whole.unfold(-3, kh, down).unfold(-3, kw, right).movedim((-2, -1), (-5, -4))


def _apart(columns: Tensor, geometry: Geometry) -> Tensor:
    """U with its axes apart: (..., F, P) as (..., C, KH, KW, H_out, W_out, b), a view."""
    wide = columns.unflatten(-1, (*geometry.size, geometry.samples))
    return wide.unflatten(-4, (geometry.step.channels, *geometry.step.kernel))


def _taps(whole: Tensor, parts: Tensor, step: Conv2dStep) -> tuple[tuple[Tensor, Tensor], ...]:
    """Each place of the kernel in U's gradient, and in that of the input with its border."""
    places = _windows(whole, step)
    return tuple(
        (parts[..., i, j, :, :, :], places[..., i, j, :, :, :])
        for i in range(step.kernel[0])
        for j in range(step.kernel[1])
    )
