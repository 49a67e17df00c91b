"""ReLU, in place where the numbers are the stack's own."""

from __future__ import annotations

import torch

from regrow.engine.layers.base import Layer, Setting, gradient_memory
from regrow.engine.steps import ReLUStep

_masked = torch.ops.aten.threshold_backward.grad_input


class ReLU(Layer):
    """max(x, 0). No layer reads its own output in the backward pass before this one has, so that it may be overwritten.

    Args:
        step: What it computes.
        setting: Where it is at work.
    """

    def __init__(self, step: ReLUStep, source: Layer, setting: Setting) -> None:
        self._source = source  # the layer before
        self.learning = source.learning
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
