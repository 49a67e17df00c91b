"""The mean of each map."""

from __future__ import annotations

import torch

from regrow.engine.layers.base import Layer, Setting, gradient_memory, maps_of
from regrow.engine.steps import AveragePoolStep


class AveragePool(Layer):
    """(N, T, C, H, W, b) to (N, T, C, 1, 1, b)."""

    def __init__(self, step: AveragePoolStep, source: Layer, setting: Setting) -> None:
        channels = source.out.shape[2]
        height, width = maps_of(source, channels=channels, path=step.path)
        self._source, self._pixels, self._each = source, height * width, setting.places.each
        self.out = setting.places.maps(channels, 1, 1)
        self.grad = gradient_memory(source, setting, self.out)

    def forward(self) -> None:
        """Network by network: a sum may go another way where there are more numbers."""
        for at in self._each:
            torch.mean(self._source.out[at], (-3, -2), keepdim=True, out=self.out[at])

    def backward(self) -> None:
        """Every pixel has the same share."""
        if self.grad is not None and self._source.grad is not None:
            self._source.grad.copy_(self.grad / self._pixels)
