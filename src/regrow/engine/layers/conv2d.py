"""Convolution, batch-last: unfold over the kernel's columns, one accumulating matrix product per kernel row.

One layer of an `engine/plan.py`; its views are in `conv2d_geometry.py`, its work in `conv2d_pieces.py`.

With the samples innermost, moving a window by one pixel moves it by b numbers, so that unfolding is a copy of long
runs. Only columns are unfolded,

    U[c, j, h, w, b] = x[c, h, w + j, b]            (KW times the input, not KH * KW times)

and of the rows i .. i + H_out of U the product with the kernel's row i is

    y[o, (h, w, b)] += sum over (c, j) of W[o, c, i, j] U[(c, j), (h + i, w, b)],

a plain matrix product: those rows lie one behind the other, and the full height is its leading dimension. A row of ones
in U carries the bias, and its gradient back.

Small kernels are done in the same way. To unfold both axes for one product instead of KH saves calls, but with a few
filters all of them wait for memory, and U would be KH times as large: measured, no faster with 20 filters and slower
with 2.
"""

from __future__ import annotations

from itertools import zip_longest

from torch import Tensor

from regrow.engine.layers.base import Layer, Setting
from regrow.engine.layers.conv2d_geometry import geometry_of
from regrow.engine.layers.conv2d_pieces import ForwardPiece, InputPiece, WeightPiece
from regrow.engine.steps import Conv2dStep


class Conv2d(Layer):
    """A convolution with stride 1 (others: `strided_conv2d.py`), one group, zeros around its input.

    Args:
        step: What it computes.
        source: The layer before.
        setting: Where it is at work.

    Edge cases:
        An input with other channels, or smaller than the kernel: a ShapeError.
    """

    def __init__(self, step: Conv2dStep, source: Layer, setting: Setting) -> None:
        self._step, self._source, self._places = step, source, setting.places
        self._geometry = geometry = geometry_of(step, source)
        self.out = setting.places.maps(step.filters, *geometry.size)
        self.grad = setting.places.zeros(*self.out.shape) if setting.learns else None
        names = ("weight", "bias") if step.bias else ("weight",)
        packed = self._matrices()
        self._packing = self._pairs(packed, [setting.value(step.path, name) for name in names])
        unfolded = self._memory(
            geometry.features + step.bias, geometry.columns, kept=setting.learns
        )
        for at in setting.places.pieces if step.bias else ():
            # Once: the copies of each pass fill the other rows only.
            unfolded[at][..., -1, :] = 1.0
        self._forward = self._forward_pieces(unfolded, packed)
        self._weights: list[WeightPiece] = []
        self._input: list[InputPiece] = []
        self._unpacking: list[tuple[Tensor, Tensor]] = []
        if self.grad is not None:
            grads = [setting.gradient(step.path, name) for name in names]
            packed_grads = self._matrices()
            self._unpacking = [(own, mine) for mine, own in self._pairs(packed_grads, grads)]
            self._weights = self._weight_pieces(self.grad, unfolded, packed_grads)
            # A first layer's input are the images: nobody asks for their gradient.
            if source.grad is not None:
                self._input = self._input_pieces(self.grad, source.grad, unfolded, packed)

    def forward(self) -> None:
        """Tile by tile."""
        for mine, own in self._packing:
            # In each pass anew. A recipe or an optimizer edits the weights in torch's layout between two steps; packed
            # ones that were kept would be the weights of before.
            mine.copy_(own)
        for piece in self._forward:
            piece.run()

    def backward(self) -> None:
        """Gradients of the weights and of the input, tile by tile, as the second overwrites what the first reads."""
        for piece, other in zip_longest(self._weights, self._input):
            piece.run()
            if other is not None:
                other.run()
        for own, mine in self._unpacking:
            own.copy_(mine)

    # ---- memory

    def _memory(self, *shape: int, kept: bool) -> Tensor:
        """(N, T, *shape); what need not be kept is one portion's, for all of them in turn."""
        places = self._places
        if kept or places.batched:
            return places.zeros(places.networks, places.tiles, *shape)
        # What one portion leaves here the next one overwrites, so that it is in the cache when it is needed.
        return places.zeros(1, 1, *shape).expand(
            places.networks, places.tiles, *(-1 for _ in shape)
        )

    def _matrices(self) -> Tensor:
        """Room for the weights as the products read them, (N, KH, O, F and the bias)."""
        step = self._step
        size = (step.kernel[0], step.filters, self._geometry.features + step.bias)
        return self._places.zeros(self._places.networks, *size)

    def _pairs(self, packed: Tensor, tensors: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """The same numbers as matrices, and in torch's own shapes."""
        weight = tensors[0].permute(0, 3, 1, 2, 4)  # (N, KH, O, C, KW)
        mine = packed[..., : self._geometry.features].unflatten(-1, weight.shape[3:])
        return [(mine, weight), *((packed[:, 0, :, -1], bias) for bias in tensors[1:])]

    # ---- the views of each portion

    def _forward_pieces(self, unfolded: Tensor, packed: Tensor) -> list[ForwardPiece]:
        step, geometry = self._step, self._geometry
        border = any(step.padding)
        padded = self._memory(step.channels, *geometry.padded, geometry.samples, kept=False)
        found: list[ForwardPiece] = []
        for at in self._places.pieces:
            given = self._source.out[at]
            whole = padded[at] if border else given
            columns = unfolded[at]
            found.append(
                ForwardPiece(
                    given=given,
                    inside=geometry.without_border(whole) if border else None,
                    windows=geometry.unfolded(whole),
                    unfolded=geometry.windows(columns[..., : geometry.features, :]),
                    products=tuple(self._each_row(packed[at[:1]], columns)),
                    out=self.out[at].flatten(-3),
                )
            )
        return found

    def _weight_pieces(self, grad: Tensor, unfolded: Tensor, packed: Tensor) -> list[WeightPiece]:
        return [
            WeightPiece(
                grad=grad[at].flatten(-3),
                products=tuple(
                    (part, rows.mT) for part, rows in self._each_row(packed[at[:1]], unfolded[at])
                ),
                # The first tile of a network writes over the gradients of the step before, the others add to them.
                beta=float(at[1] != 0),
            )
            for at in self._places.pieces
        ]

    def _input_pieces(
        self, grad: Tensor, out: Tensor, unfolded: Tensor, packed: Tensor
    ) -> list[InputPiece]:
        """U's gradient takes the place of U, which nobody needs any more, and which is in the cache."""
        step, geometry = self._step, self._geometry
        border = any(step.padding)
        padded = self._memory(step.channels, *geometry.padded, geometry.samples, kept=False)
        found: list[InputPiece] = []
        for at in self._places.pieces:
            columns = unfolded[at][..., : geometry.features, :]
            whole = padded[at] if border else out[at]
            parts = geometry.windows(columns)
            taps = [
                (parts.select(-4, column), geometry.moved(whole, column))
                for column in range(step.kernel[1])
            ]
            found.append(
                InputPiece(
                    grad=grad[at].flatten(-3),
                    products=tuple(
                        (rows, weight[..., : geometry.features].mT)
                        for weight, rows in self._each_row(packed[at[:1]], columns)
                    ),
                    below=columns[..., geometry.positions :],
                    first=taps[0],
                    right=whole[..., geometry.size[1] :, :],
                    others=tuple(taps[1:]),
                    inside=geometry.without_border(whole) if border else None,
                    out=out[at],
                )
            )
        return found

    def _each_row(self, packed: Tensor, columns: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weights of each row of the kernel, and what it sees of U."""
        found: list[tuple[Tensor, Tensor]] = []
        for number in range(self._step.kernel[0]):
            rows = self._geometry.row(columns, number)
            found.append((packed[..., number, :, : rows.shape[-2]], rows))
        return found
