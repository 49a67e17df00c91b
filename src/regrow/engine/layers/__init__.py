"""The engine's layers, one a file: forward and backward by hand, in memory that is there from the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from regrow.engine import steps
from regrow.engine.layers.average_pool import AveragePool
from regrow.engine.layers.base import Images, Layer, Setting
from regrow.engine.layers.batch_norm2d import BatchNorm2d
from regrow.engine.layers.conv2d import Conv2d
from regrow.engine.layers.flatten import Flatten
from regrow.engine.layers.gain_control2d import GainControl2d
from regrow.engine.layers.layer_norm import LayerNorm
from regrow.engine.layers.linear import Linear
from regrow.engine.layers.max_pool2d import MaxPool2d
from regrow.engine.layers.relu import LeakyReLU, ReLU
from regrow.engine.layers.strided_conv2d import StridedConv2d

__all__ = ["Images", "Layer", "Linear", "Setting", "layer_of"]


_LAYERS: Final[dict[type, Callable[[Any, Layer, Setting], Layer]]] = {
    steps.Conv2dStep: Conv2d,
    steps.LinearStep: Linear,
    steps.ReLUStep: ReLU,
    steps.LeakyReLUStep: LeakyReLU,
    steps.LayerNormStep: LayerNorm,
    steps.MaxPool2dStep: MaxPool2d,
    steps.AveragePoolStep: AveragePool,
    steps.FlattenStep: Flatten,
    steps.BatchNorm2dStep: BatchNorm2d,
    steps.GainControl2dStep: GainControl2d,
}


def layer_of(step: steps.Step, source: Layer, setting: Setting) -> Layer:
    """Build a layer with its memory."""
    if isinstance(step, steps.Conv2dStep) and step.stride != (1, 1):
        return StridedConv2d(step, source, setting)
    return _LAYERS[type(step)](step, source, setting)
