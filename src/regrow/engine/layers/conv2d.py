"""Convolution, batch-last: unfold over the kernel's columns, one accumulating matrix product per kernel row.

With the samples innermost, moving a window by one pixel moves it by b numbers, so that unfolding is a copy of long
runs. Only columns are unfolded,

    U[c, j, h, w, b] = x[c, h, w + j, b]            (K times the input, not K * K times)

and of the rows i .. i + H_out of U the product with the kernel's row i is

    y[o, (h, w, b)] += sum over (c, j) of W[o, c, i, j] U[(c, j), (h + i, w, b)],

a plain matrix product: those rows lie one behind the other, and the full height is its leading dimension. A row of ones
in U carries the bias, and its gradient back. Small inputs (a first layer's) are unfolded over both axes: one product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor

from regrow.engine.layers.base import Layer, Setting, maps_of
from regrow.engine.places import multiply_
from regrow.engine.steps import Conv2dStep
from regrow.errors import ShapeError

WHOLE: Final = 32
"""Numbers of a filter up to which both axes are unfolded: such products are too thin to be done row by row."""


@dataclass(frozen=True, kw_only=True)
class _Forward:
    """The views of one portion of the forward pass, made once.

    Attributes:
        given: The input.
        inside: Where it goes in the input with a border; None where there is no border.
        windows: The input with its border, as U is filled from it.
        unfolded: U, (..., C, I, K, H, W_out, b), I = kernel rows that are unfolded.
        products: Weights (..., O, F) and rows of U (..., F, P) of each.
        out: (..., O, P).
    """

    given: Tensor
    inside: Tensor | None
    windows: Tensor
    unfolded: Tensor
    products: tuple[tuple[Tensor, Tensor], ...]
    out: Tensor


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """The views of one portion of the weights' gradients.

    Attributes:
        grad: Of the output, (..., O, P).
        products: Gradients of the weights (..., O, F) and turned rows of U (..., P, F).
        beta: 0 for the first tile of a network.
    """

    grad: Tensor
    products: tuple[tuple[Tensor, Tensor], ...]
    beta: float


@dataclass(frozen=True, kw_only=True)
class _Input:
    """The views of one portion of the input's gradient.

    Attributes:
        grad: Of the output, (..., O, P).
        products: Parts of U's gradient (..., F, P) and turned weights (..., F, O).
        below: Where the first product does not reach.
        first: U's gradient at the window's first place, and where it goes.
        beside: What it does not reach.
        others: The same of all other places.
        inside: Of the gradient with its border, what is the input's; None where there is no border.
        out: Gradient of the input.
    """

    grad: Tensor
    products: tuple[tuple[Tensor, Tensor], ...]
    below: Tensor
    first: tuple[Tensor, Tensor]
    beside: tuple[Tensor, ...]
    others: tuple[tuple[Tensor, Tensor], ...]
    inside: Tensor | None
    out: Tensor


class Conv2d(Layer):
    """A convolution with stride 1, one group, zeros around its input.

    Args:
        step: What it computes.
        source: The layer before.
        setting: Where it is at work.

    Raises:
        ShapeError: The input has other channels, or is smaller than the kernel.
    """

    def __init__(self, step: Conv2dStep, source: Layer, setting: Setting) -> None:
        height, width = maps_of(source, channels=step.channels, path=step.path)
        kh, kw = step.kernel
        self._padded = (height + 2 * step.padding[0], width + 2 * step.padding[1])
        self._size = (self._padded[0] - kh + 1, self._padded[1] - kw + 1)
        if min(self._size) < 1:
            raise ShapeError(
                f"'{step.path}' has a kernel of {kh}x{kw}, larger than its input with padding, "
                f"{self._padded[0]}x{self._padded[1]}"
            )
        whole = step.channels * kh * kw <= WHOLE
        self._step, self._source, self._places = step, source, setting.places
        self._rows = kh if whole else 1  # kernel rows that are unfolded
        self._products = 1 if whole else kh
        self._width = step.channels * self._rows * kw  # F, without the row of ones
        self._height = self._size[0] if whole else self._padded[0]  # of U
        self.out = setting.places.maps(step.filters, *self._size)
        self.grad = setting.places.zeros(*self.out.shape) if setting.learns else None
        values = [setting.value(step.path, name) for name in self._names()]
        packed = self._matrices()
        self._packing = self._pairs(packed, values)
        samples = self.out.shape[-1]
        unfolded = self._memory(
            self._width + step.bias, self._height * self._size[1] * samples, kept=setting.learns
        )
        for at in setting.places.pieces if step.bias else ():
            unfolded[at][..., -1, :] = 1.0
        self._forward = self._forward_pieces(unfolded, packed)
        self._weights: list[_Weights] = []
        self._input: list[_Input] = []
        self._unpacking: list[tuple[Tensor, Tensor]] = []
        if self.grad is not None:
            grads = [setting.gradient(step.path, name) for name in self._names()]
            packed_grads = self._matrices()
            self._unpacking = [(own, mine) for mine, own in self._pairs(packed_grads, grads)]
            self._weights = self._weight_pieces(self.grad, unfolded, packed_grads)
            if source.grad is not None and source.learning:
                self._input = self._input_pieces(self.grad, source.grad, packed)

    def forward(self) -> None:
        """Unfold and multiply, tile by tile."""
        for mine, own in self._packing:
            mine.copy_(own)
        for piece in self._forward:
            if piece.inside is not None:
                piece.inside.copy_(piece.given)
            piece.unfolded.copy_(piece.windows)
            beta = 0.0
            for weight, rows in piece.products:
                multiply_(piece.out, weight, rows, beta=beta)
                beta = 1.0

    def backward(self) -> None:
        """Gradients of the weights from U; of the input by the turned weights, and folding."""
        for piece in self._weights:
            for grad, rows in piece.products:
                multiply_(grad, piece.grad, rows, beta=piece.beta)
        for own, mine in self._unpacking:
            own.copy_(mine)
        for piece in self._input:
            beta = 0.0
            for part, weight in piece.products:
                multiply_(part, weight, piece.grad, beta=beta)
                if not beta:
                    piece.below.zero_()
                beta = 1.0
            part, place = piece.first
            place.copy_(part)
            for rest in piece.beside:
                rest.zero_()
            for part, place in piece.others:
                place.add_(part)
            if piece.inside is not None:
                piece.out.copy_(piece.inside)

    # ---- memory

    def _names(self) -> tuple[str, ...]:
        return ("weight", "bias") if self._step.bias else ("weight",)

    def _memory(self, *shape: int, kept: bool) -> Tensor:
        """(N, T, *shape); what need not be kept is one portion's, for all of them in turn."""
        places = self._places
        if kept or places.batched:
            return places.zeros(places.networks, places.tiles, *shape)
        return places.zeros(1, 1, *shape).expand(
            places.networks, places.tiles, *(-1 for _ in shape)
        )

    def _matrices(self) -> Tensor:
        """Room for the weights as the products read them, (N, products, O, F and the bias)."""
        size = (self._products, self._step.filters, self._width + self._step.bias)
        return self._places.zeros(self._places.networks, *size)

    def _pairs(self, packed: Tensor, tensors: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """The same numbers as matrices, and in torch's own shapes."""
        weight = tensors[0]
        if self._products > 1:
            weight = weight.permute(0, 3, 1, 2, 4)  # (N, KH, O, C, KW)
            mine = packed[..., : self._width].unflatten(-1, weight.shape[3:])
        else:
            mine, weight = packed[:, 0, :, : self._width], weight.flatten(2)
        return [(mine, weight), *((packed[:, 0, :, -1], bias) for bias in tensors[1:])]

    # ---- the views of each portion

    def _forward_pieces(self, unfolded: Tensor, packed: Tensor) -> list[_Forward]:
        step, source, samples = self._step, self._source, self.out.shape[-1]
        border = any(step.padding)
        padded = self._memory(step.channels, *self._padded, samples, kept=False)
        found: list[_Forward] = []
        for at in self._places.pieces:
            given = source.out[at]
            whole = padded[at] if border else given
            columns = unfolded[at]
            found.append(
                _Forward(
                    given=given,
                    inside=self._without_border(whole) if border else None,
                    windows=_windows(whole, (self._rows, step.kernel[1])),
                    unfolded=self._as_windows(columns[..., : self._width, :]),
                    products=tuple(self._each_product(packed[at[:1]], columns)),
                    out=self.out[at].flatten(-3),
                )
            )
        return found

    def _weight_pieces(self, grad: Tensor, unfolded: Tensor, packed: Tensor) -> list[_Weights]:
        return [
            _Weights(
                grad=grad[at].flatten(-3),
                products=tuple(
                    (part, rows.mT)
                    for part, rows in self._each_product(packed[at[:1]], unfolded[at])
                ),
                beta=float(at[1] != 0),
            )
            for at in self._places.pieces
        ]

    def _input_pieces(self, grad: Tensor, out: Tensor, packed: Tensor) -> list[_Input]:
        step, samples = self._step, grad.shape[-1]
        border = any(step.padding)
        positions = self._height * self._size[1] * samples
        columns_memory = self._memory(self._width, positions, kept=False)
        padded = self._memory(step.channels, *self._padded, samples, kept=False)
        found: list[_Input] = []
        for at in self._places.pieces:
            columns = columns_memory[at]
            whole = padded[at] if border else out[at]
            parts = self._as_windows(columns)
            taps = [
                (parts.select(-5, i).select(-4, j), self._moved(whole, i, j))
                for i in range(self._rows)
                for j in range(step.kernel[1])
            ]
            found.append(
                _Input(
                    grad=grad[at].flatten(-3),
                    products=tuple(
                        (rows, weight[..., : self._width].mT)
                        for weight, rows in self._each_product(packed[at[:1]], columns)
                    ),
                    below=columns[..., self._positions() :],
                    first=taps[0],
                    beside=(
                        whole[..., self._height :, :, :],
                        whole[..., : self._height, self._size[1] :, :],
                    ),
                    others=tuple(taps[1:]),
                    inside=self._without_border(whole) if border else None,
                    out=out[at],
                )
            )
        return found

    def _each_product(self, packed: Tensor, columns: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights and rows of U; the row of ones, where `columns` has one, is read once."""
        move, positions = self._size[1] * self.out.shape[-1], self._positions()
        found: list[tuple[Tensor, Tensor]] = []
        for number in range(self._products):
            width = columns.shape[-2] if number == 0 else self._width
            rows = columns[..., :width, number * move : number * move + positions]
            found.append((packed[..., number, :, :width], rows))
        return found

    def _positions(self) -> int:
        return self._size[0] * self._size[1] * self.out.shape[-1]

    def _as_windows(self, columns: Tensor) -> Tensor:
        """(..., F, H * W_out * b) to (..., C, I, K, H, W_out, b)."""
        step = self._step
        wide = columns.unflatten(-1, (self._height, self._size[1], self.out.shape[-1]))
        return wide.unflatten(-4, (step.channels, self._rows, step.kernel[1]))

    def _without_border(self, padded: Tensor) -> Tensor:
        above, left = self._step.padding
        height, width = self._padded
        return padded[..., above : height - above, left : width - left, :]

    def _moved(self, padded: Tensor, down: int, right: int) -> Tensor:
        """What a window's place sees of the input."""
        return padded[..., down : down + self._height, right : right + self._size[1], :]


def _windows(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., C, H, W, b) to (..., C, I, K, H - I + 1, W - K + 1, b), a view."""
    return maps.unfold(-3, size[0], 1).unfold(-3, size[1], 1).movedim((-2, -1), (-5, -4))
