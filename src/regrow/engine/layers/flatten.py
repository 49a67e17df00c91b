"""Flatten: torch's order, (C, H, W) in one axis; tiles of the batch come together here."""

from __future__ import annotations

from torch import Tensor

from regrow.engine.layers.base import Layer, Setting, gradient_memory
from regrow.engine.steps import FlattenStep


class Flatten(Layer):
    """(N, T, C, H, W, b) to (N, C * H * W, T * b): another view, or a copy where there are several tiles."""

    def __init__(self, step: FlattenStep, source: Layer, setting: Setting) -> None:
        self._source = source  # the layer before
        # The output and its gradient with the axes of the layer before, where they are copies.
        self._tiled_out: Tensor | None = None
        self._tiled_grad: Tensor | None = None
        if source.out.ndim == 3 or setting.places.tiles == 1:
            self.owned = source.owned
            self.out = _flat(source.out)
            self.grad = None if source.grad is None else _flat(source.grad)
            return
        places = setting.places
        features = source.out[0, 0, ..., 0].numel()
        self.out = places.zeros(places.networks, features, places.samples)
        self.grad = gradient_memory(source, setting, self.out)
        self._tiled_out = self._tiled(self.out)
        self._tiled_grad = None if self.grad is None else self._tiled(self.grad)

    def forward(self) -> None:
        """Copy, if anything."""
        if self._tiled_out is not None:
            self._tiled_out.copy_(self._source.out)

    def backward(self) -> None:
        """Copy back, if anything."""
        if self._tiled_grad is not None and self._source.grad is not None:
            self._source.grad.copy_(self._tiled_grad)

    def _tiled(self, flat: Tensor) -> Tensor:
        """(N, F, B) as the layer before has it."""
        _, tiles, channels, height, width, samples = self._source.out.shape
        return (
            flat.unflatten(2, (tiles, samples))
            .unflatten(1, (channels, height, width))
            .movedim(-2, 1)
        )


def _flat(maps: Tensor) -> Tensor:
    return maps if maps.ndim == 3 else maps[:, 0].flatten(1, 3)
