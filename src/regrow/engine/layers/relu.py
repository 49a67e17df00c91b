"""ReLU and leaky ReLU, in place where the numbers are the stack's own."""

from __future__ import annotations

import torch

from regrow.engine.layers.base import Layer, Setting, gradient_memory
from regrow.engine.steps import LeakyReLUStep, ReLUStep

_masked = torch.ops.aten.threshold_backward.grad_input
_leaky = torch.ops.aten.leaky_relu.out
_leaky_backward = torch.ops.aten.leaky_relu_backward.grad_input


class ReLU(Layer):
    """max(x, 0), over what it reads: no layer reads its own output in the backward pass before this one has."""

    def __init__(self, _: ReLUStep | LeakyReLUStep, source: Layer, setting: Setting) -> None:
        self._source = source  # the layer before
        self.out = source.out if source.owned else setting.places.zeros(*source.out.shape)
        self.grad = source.grad if source.owned else gradient_memory(source, setting, self.out)

    def forward(self) -> None:
        """All networks at once: no number sees another."""
        if self._source.owned:
            self.out.relu_()
        else:
            torch.clamp(self._source.out, min=0, out=self.out)

    def backward(self) -> None:
        """The gradient where the output is above 0."""
        if self.grad is not None and self._source.grad is not None:
            _masked(self.grad, self.out, 0, grad_input=self._source.grad)


class LeakyReLU(ReLU):
    """x where x > 0, else s x. The slope s is at least 0, so that what is above 0 behind it was so in front of it."""

    def __init__(self, step: LeakyReLUStep, source: Layer, setting: Setting) -> None:
        super().__init__(step, source, setting)
        self._slope = step.slope

    def forward(self) -> None:
        """All networks at once, as in `ReLU`."""
        _leaky(self._source.out, self._slope, out=self.out)

    def backward(self) -> None:
        """The gradient, times the slope where the output is not above 0."""
        if self.grad is not None and self._source.grad is not None:
            _leaky_backward(self.grad, self.out, self._slope, True, grad_input=self._source.grad)
