"""Dense layer, batch-last: plain matrix products with torch's own weights."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.engine.layers.base import Layer, Setting, features_of
from regrow.engine.places import multiply_
from regrow.engine.steps import LinearStep


class Linear(Layer):
    """y = W x + b for (F, B), network by network.

    With `rates` set, the step of plain SGD is the product's own accumulation, and no gradient is ever written:

        W <- W - rate * (dL/dy) x^T
    """

    def __init__(self, step: LinearStep, source: Layer, setting: Setting) -> None:
        features_of(source, features=step.features, path=step.path)
        places = setting.places
        # Learning rate of each network, (N, 1, 1) where all are done at once; None: leave gradients.
        self.rates: tuple[float, ...] | Tensor | None = None
        self.out = places.zeros(places.networks, step.filters, places.samples)
        self.grad = setting.places.zeros(*self.out.shape) if setting.learns else None
        weight = setting.value(step.path, "weight")
        bias = setting.value(step.path, "bias")[..., None] if step.bias else None
        self._bias = None if bias is None else bias.expand(self.out.shape)
        self._forward = [(self.out[at], weight[at], source.out[at]) for at in places.each]
        if self.grad is None:
            return
        grad, to = self.grad, source.grad
        own = setting.gradient(step.path, "weight")
        self._bias_grad = setting.gradient(step.path, "bias")[..., None] if step.bias else None
        self._grads = [(own[at], grad[at], source.out[at].mT) for at in places.each]
        self._own = [(weight[at], None if bias is None else bias[at]) for at in places.each]
        self._input = (
            [] if to is None else [(to[at], weight[at].mT, grad[at]) for at in places.each]
        )

    def forward(self) -> None:
        """One product a network."""
        beta = 0.0 if self._bias is None else 1.0
        if self._bias is not None:
            self.out.copy_(self._bias)
        for out, weight, given in self._forward:
            multiply_(out, weight, given, beta=beta)

    def backward(self) -> None:
        """The input's gradient first: `rates` move the weights that it is made with."""
        for out, weight, grad in self._input:
            multiply_(out, weight, grad)
        if self.rates is None:
            for own, grad, given in self._grads:
                multiply_(own, grad, given)
            if self._bias_grad is not None and self.grad is not None:
                torch.sum(self.grad, -1, keepdim=True, out=self._bias_grad)  # row by row, of all
            return
        for number, (weight, bias) in enumerate(self._own):
            _, change, given = self._grads[number]
            alpha = 1.0
            if isinstance(self.rates, Tensor):
                change = change * -self.rates
            else:
                alpha = -self.rates[number]
            multiply_(weight, change, given, beta=1.0, alpha=alpha)
            if bias is not None:
                bias.add_(change.sum(-1, keepdim=True), alpha=alpha)
