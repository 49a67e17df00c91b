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

from collections.abc import Callable

from torch import Tensor

from regrow.engine.layers.base import Layer, Portions, Setting
from regrow.engine.layers.conv2d_geometry import geometry_of
from regrow.engine.layers.conv2d_pieces import ForwardPiece, InputPiece, WeightPiece
from regrow.engine.steps import Conv2dStep


class Conv2d(Portions):
    """A convolution with stride 1 (others: `strided_conv2d.py`), one group, zeros around its input."""

    def __init__(self, step: Conv2dStep, source: Layer, setting: Setting) -> None:
        super().__init__()
        self._step, self._places = step, setting.places
        self._geometry = geometry = geometry_of(step, source)
        self.out = setting.places.maps(step.filters, *geometry.size)
        self.grad = setting.places.zeros(*self.out.shape) if setting.learns else None
        packed, self._packing = self._packed(setting.value)
        unfolded = self._memory(
            geometry.features + step.bias, geometry.columns, kept=setting.learns
        )
        padded = self._bordered(source.out)
        for at in setting.places.pieces:
            if step.bias:
                # Once: the copies of each pass fill the other rows only.
                unfolded[at][..., -1, :] = 1.0
            piece = ForwardPiece(
                given=source.out[at],
                inside=geometry.inside(padded[at]),
                windows=geometry.unfolded(padded[at]),
                unfolded=geometry.windows(unfolded[at]),
                products=self._each_row(packed[at[:1]], unfolded[at]),
                out=self.out[at].flatten(-3),
            )
            self._forward.append(piece.run)
        self._unpacking: list[tuple[Tensor, Tensor]] = []
        if self.grad is None:
            return
        grads, self._unpacking = self._packed(setting.gradient)
        # A first layer's input are the images: nobody asks for their gradient.
        whole = None if source.grad is None else self._bordered(source.grad)
        for at in setting.places.pieces:
            rows = self._each_row(grads[at[:1]], unfolded[at])
            piece = WeightPiece(
                grad=self.grad[at].flatten(-3),
                products=tuple((part, seen.mT) for part, seen in rows),
                beta=float(at[1] != 0),
            )
            self._backward.append(piece.run)
            # Tile by tile, as the input's gradient overwrites what that of the weights reads.
            if source.grad is not None and whole is not None:
                columns = unfolded[at][..., : geometry.features, :]
                piece = self._input_piece(
                    piece.grad, source.grad[at], whole[at], columns, packed[at[:1]]
                )
                self._backward.append(piece.run)

    def forward(self) -> None:
        """Tile by tile."""
        for mine, own in self._packing:
            # In each pass anew. A recipe or an optimizer edits the weights in torch's layout between two steps; packed
            # ones that were kept would be the weights of before.
            mine.copy_(own)
        super().forward()

    def backward(self) -> None:
        """Gradients of the weights and of the input."""
        super().backward()
        for mine, own in self._unpacking:
            own.copy_(mine)

    def _memory(self, *shape: int, kept: bool) -> Tensor:
        """(N, T, *shape); what need not be kept is one portion's, for all of them in turn."""
        places = self._places
        if kept or places.batched:
            return places.zeros(places.networks, places.tiles, *shape)
        # What one portion leaves here the next one overwrites, so that it is in the cache when it is needed.
        return places.zeros(1, 1, *shape).expand(
            places.networks, places.tiles, *(-1 for _ in shape)
        )

    def _bordered(self, maps: Tensor) -> Tensor:
        """Room for maps with a border around them; where there is none, the maps themselves."""
        step, geometry = self._step, self._geometry
        if not any(step.padding):
            return maps
        return self._memory(step.channels, *geometry.padded, geometry.samples, kept=False)

    def _packed(
        self, of: Callable[[str, str], Tensor]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Room for weights as the products read them, (N, KH, O, F and the bias); its parts and torch's own of them."""
        step, features = self._step, self._geometry.features
        size = (step.kernel[0], step.filters, features + step.bias)
        packed = self._places.zeros(self._places.networks, *size)
        weight = of(step.path, "weight").permute(0, 3, 1, 2, 4)  # (N, KH, O, C, KW)
        mine = packed[..., :features].unflatten(-1, weight.shape[3:])
        bias = [(packed[:, 0, :, -1], of(step.path, "bias"))] if step.bias else []
        return packed, [(mine, weight), *bias]

    def _each_row(self, packed: Tensor, columns: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Weights of each row of the kernel, and what it sees of U."""
        rows = [self._geometry.row(columns, number) for number in range(self._step.kernel[0])]
        return tuple(
            (packed[..., number, :, : each.shape[-2]], each) for number, each in enumerate(rows)
        )

    def _input_piece(
        self, grad: Tensor, out: Tensor, whole: Tensor, columns: Tensor, packed: Tensor
    ) -> InputPiece:
        """U's gradient takes the place of U, which nobody needs any more, and which is in the cache."""
        geometry = self._geometry
        parts = geometry.windows(columns).unbind(-4)
        return InputPiece(
            grad=grad,
            products=tuple((rows, weight.mT) for weight, rows in self._each_row(packed, columns)),
            below=columns[..., geometry.positions :],
            taps=tuple((part, geometry.moved(whole, number)) for number, part in enumerate(parts)),
            right=whole[..., geometry.size[1] :, :],
            inside=geometry.inside(whole),
            out=out,
        )
