"""Automatic gain control, batch-last: `regrow.functional.gain_control`'s arithmetic with its gradients by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.engine.layers.base import Layer, Setting, maps_of
from regrow.engine.places import At
from regrow.engine.steps import GainControl2dStep
from regrow.errors import ShapeError

_masked = torch.ops.aten.threshold_backward.grad_input


class GainControl2d(Layer):
    """y = g (x - k m) + b with m the mean of x over the map's P positions; with `relu` max(y, 0).

    With d the gradient of y, where the ReLU let it through, and s its sum over the positions:

        dL/dx = g (d - k / P s)     dL/dg = sum of d x - k sum of m s     dL/dk = -g sum of m s     dL/db = sum of s
    """

    def __init__(self, step: GainControl2dStep, source: Layer, setting: Setting) -> None:
        height, width = maps_of(source, channels=step.channels, path=step.path)
        self._positions = height * width
        if self._positions == 1 and step.single_position == "error":
            raise ShapeError(f"'{step.path}' must read maps of more than one position")
        self._passes = self._positions == 1 and step.single_position == "pass_through"
        self._step, self._source, self._setting = step, source, setting
        self._gain = "log_gain" if step.positive_gain else "gain"
        self.out = setting.places.maps(step.channels, height, width)
        self.grad = setting.places.zeros(*self.out.shape) if setting.learns else None
        self._means: list[Tensor] = []

    def forward(self) -> None:
        """One multiply-add an element, after the means."""
        self._means = []
        for at in self._setting.places.each:
            maps, out = self._source.out[at], self.out[at]
            k, g, b = self._numbers(at)
            mean = maps.mean((-3, -2), keepdim=True)
            torch.addcmul(torch.addcmul(b, -(g * k), mean), maps, g, out=out)
            if self._step.relu:
                out.relu_()
            self._means.append(mean)

    def backward(self) -> None:
        """See the class."""
        if self.grad is None:
            return
        to = self._source.grad
        for at, mean in zip(self._setting.places.each, self._means, strict=True):
            k, g, _ = self._numbers(at)
            come, maps = self.grad[at], self._source.out[at]
            if self._step.relu:
                come = _masked(come, self.out[at], 0, grad_input=torch.empty_like(come))
            total = come.sum((-3, -2), keepdim=True)
            meant = _sums(mean * total)
            product = _sums(come * maps)
            flat_k, flat_g = (each[..., 0, :, 0, 0, 0] for each in (k, g))
            self._write("bias", at, _sums(total))
            self._write("mean_scale", at, 0 * meant if self._passes else -flat_g * meant)
            gain = product - flat_k * meant
            self._write(self._gain, at, gain * flat_g if self._step.positive_gain else gain)
            if to is not None:
                torch.mul(torch.addcmul(come, k, total, value=-1 / self._positions), g, out=to[at])

    def _numbers(self, at: At) -> tuple[Tensor, Tensor, Tensor]:
        """k, g and b, (..., 1, C, 1, 1, 1)."""
        k, gain = self._value("mean_scale", at), self._value(self._gain, at)
        gain = gain.exp() if self._step.positive_gain else gain
        return k * 0 if self._passes else k, gain, self._value("bias", at)

    def _value(self, name: str, at: At) -> Tensor:
        return self._setting.value(self._step.path, name)[at][..., None, :, None, None, None]

    def _write(self, name: str, at: At, value: Tensor) -> None:
        if name in self._step.learnt:
            self._setting.gradient(self._step.path, name)[at].copy_(value)


def _sums(maps: Tensor) -> Tensor:
    """(..., T, C, H, W, b) to (..., C)."""
    return maps.sum((-5, -3, -2, -1))
