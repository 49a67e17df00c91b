"""Max pooling over windows that do not overlap: place by place of the window."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.engine.layers.base import Layer, Setting, gradient_memory, maps_of
from regrow.engine.steps import MaxPool2dStep
from regrow.errors import ShapeError


class MaxPool2d(Layer):
    """The largest of each window; of equal ones the first, in torch's order, has the gradient."""

    def __init__(self, step: MaxPool2dStep, source: Layer, setting: Setting) -> None:
        channels = source.out.shape[2]
        height, width = maps_of(source, channels=channels, path=step.path)
        kh, kw = step.kernel
        size = (height // kh, width // kw)
        if min(size) < 1:
            raise ShapeError(
                f"'{step.path}' has windows of {kh}x{kw}, larger than its input of {height}x{width}"
            )
        self._source = source  # the layer before
        self._kernel, self._size = (kh, kw), size
        self.out = setting.places.maps(channels, *size)
        self.grad = gradient_memory(source, setting, self.out)
        self._larger = torch.zeros(self.out.shape, dtype=torch.bool, device=self.out.device)
        # Which place of its window each output came from.
        self._which = torch.zeros(self.out.shape, dtype=torch.int16, device=self.out.device)
        self._taken = self._taps(source.out)

    def forward(self) -> None:
        """Go through the places of the window; a later one must be larger. NaN is the largest."""
        first, *others = self._taken
        self.out.copy_(first)
        if self.grad is not None:
            self._which.zero_()
        for number, tap in enumerate(others, 1):
            if self.grad is not None:
                # As torch does it: not (tap <= out) would count NaN on either side, so both are told apart.
                torch.gt(tap, self.out, out=self._larger)
                self._larger |= tap.isnan()
                self._which.masked_fill_(self._larger, number)
            torch.maximum(tap, self.out, out=self.out)

    def backward(self) -> None:
        """Each output's gradient goes where its number came from."""
        if self.grad is None or self._source.grad is None:
            return
        grad = self._source.grad
        height, width = (size * side for size, side in zip(self._size, self._kernel, strict=True))
        # Rows and columns that no window reaches have gradient 0: nobody else writes there.
        grad[..., height:, :, :].zero_()
        grad[..., :height, width:, :].zero_()
        for number, tap in enumerate(self._taps(grad)):
            torch.eq(self._which, number, out=self._larger)
            torch.mul(self.grad, self._larger, out=tap)

    def _taps(self, maps: Tensor) -> list[Tensor]:
        """What each place of the windows sees."""
        (kh, kw), (height, width) = self._kernel, self._size
        return [
            maps[..., i : height * kh : kh, j : width * kw : kw, :]
            for i in range(kh)
            for j in range(kw)
        ]
