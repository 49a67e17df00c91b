"""Leaky ReLU, in place where the numbers are the stack's own."""

from __future__ import annotations

import torch

from regrow.engine.layers.base import Layer, Setting, gradient_memory
from regrow.engine.steps import LeakyReLUStep

_leaky = torch.ops.aten.leaky_relu.out
_leaky_backward = torch.ops.aten.leaky_relu_backward.grad_input


class LeakyReLU(Layer):
    """x where x > 0, else s x. The slope s is at least 0, so that what is above 0 behind it was so in front of it.

    As in `ReLU` no layer reads its own output in the backward pass before this one has.

    Args:
        step: What it computes.
        source: The layer before.
        setting: Where it is at work.
    """

    def __init__(self, step: LeakyReLUStep, source: Layer, setting: Setting) -> None:
        self._source, self._slope = source, step.slope
        self.learning = source.learning
        self.out = source.out if source.owned else setting.places.zeros(*source.out.shape)
        self.grad = source.grad if source.owned else gradient_memory(source, setting, self.out)

    def forward(self) -> None:
        """All networks at once: no number sees another."""
        _leaky(self._source.out, self._slope, out=self.out)

    def backward(self) -> None:
        """The gradient, times the slope where the output is not above 0."""
        if self.grad is not None and self._source.grad is not None:
            _leaky_backward(self.grad, self.out, self._slope, True, grad_input=self._source.grad)
