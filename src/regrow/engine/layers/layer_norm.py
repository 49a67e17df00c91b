"""Layer normalisation over features, batch-last: `torch.nn.LayerNorm`'s arithmetic with its gradients by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.engine.layers.base import Layer, Setting
from regrow.engine.places import At
from regrow.engine.steps import LayerNormStep
from regrow.errors import ShapeError


class LayerNorm(Layer):
    """y = g n + b with n = (x - m) r, sample by sample; m the mean of x over its F features, r = 1 / sqrt(var + eps).

    With d the gradient of y and e = g d:

        dL/dg = sum over samples of d n     dL/db = sum of d     dL/dx = r (e - mean of e - n * mean of e n)

    The means of the last are over the features.

    Args:
        step: What it computes.
        source: The layer before.
        setting: Where it is at work.

    Raises:
        ShapeError: The input has another number of features, or has not been flattened.
    """

    def __init__(self, step: LayerNormStep, source: Layer, setting: Setting) -> None:
        shape = tuple(source.out.shape)
        if len(shape) != 3 or shape[1] != step.features:
            found = f"{shape[1]} features" if len(shape) == 3 else "maps: flatten them before"
            raise ShapeError(f"'{step.path}' must read {step.features} features, got {found}")
        places = setting.places
        self._step, self._source, self._setting = step, source, setting
        # What comes in stays as it is: recipes look at it after the backward pass.
        self.out = places.zeros(places.networks, *shape[1:])
        self.grad = places.zeros(*shape) if setting.learns else None
        self._normal = places.zeros(*shape)
        self._scale = places.zeros(places.networks, 1, places.samples)
        self._spare = places.zeros(*shape) if setting.learns else None

    def forward(self) -> None:
        """Network by network: a sum may go another way where there are more numbers."""
        for at in self._setting.places.each:
            given, normal, scale = self._source.out[at], self._normal[at], self._scale[at]
            torch.sub(given, given.mean(-2, keepdim=True), out=normal)
            out = torch.mul(normal, normal, out=self.out[at])
            torch.mean(out, -2, keepdim=True, out=scale)
            scale.add_(self._step.eps).rsqrt_()
            normal.mul_(scale)
            gain, shift = self._value("weight", at), self._value("bias", at)
            if gain is None:
                out.copy_(normal)
            elif shift is None:
                torch.mul(normal, gain, out=out)
            else:
                torch.addcmul(shift, normal, gain, out=out)

    def backward(self) -> None:
        """See the class."""
        if self.grad is None or self._spare is None:
            return
        to = self._source.grad if self._source.learning else None
        for at in self._setting.places.each:
            come, normal, spare = self.grad[at], self._normal[at], self._spare[at]
            for name in self._step.learnt:
                each = come if name == "bias" else torch.mul(come, normal, out=spare)
                torch.sum(each, -1, out=self._setting.gradient(self._step.path, name)[at])
            if to is None:
                continue
            gain = self._value("weight", at)
            if gain is not None:
                # The gradient of the output is nobody's any more: what the next step needs is written anew.
                come.mul_(gain)
            torch.mul(come, normal, out=spare)
            slope = spare.mean(-2, keepdim=True)
            come.sub_(come.mean(-2, keepdim=True))
            come.addcmul_(normal, slope, value=-1.0)
            torch.mul(come, self._scale[at], out=to[at])

    def _value(self, name: str, at: At) -> Tensor | None:
        """(..., F, 1); None where there is none."""
        if name not in self._step.learnt:
            return None
        return self._setting.value(self._step.path, name)[at][..., None]
