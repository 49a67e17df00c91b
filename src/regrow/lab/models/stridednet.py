"""`stridednet`: convolutions that halve their maps, and one hidden dense layer: the small CNN of streams of tasks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import Tensor, nn

from regrow.lab.models.parts import activation_layer, initialise_
from regrow.lab.models.settings import Sizes, StridedNetSettings


class StridedNet(nn.Module):
    """Convolutions with a stride in place of pooling, a hidden dense layer, logits.

    The defaults, two convolutions 3x3 of 8 and 16 filters and 64 dense units, are trained through a stream in seconds.
    """

    def __init__(self, *, settings: StridedNetSettings, **sizes: Unpack[Sizes]) -> None:
        super().__init__()
        height, width = sizes["image_size"]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, kernel, stride = sizes["in_channels"], settings.kernel, settings.stride
        for number in range(1, settings.depth + 1):
            filters = settings.width * 2 ** (number - 1)
            layers[f"conv{number}"] = nn.Conv2d(
                channels, filters, kernel, stride=stride, padding=kernel // 2
            )
            layers[f"{settings.activation}{number}"] = activation_layer(settings.activation)
            channels = filters
            height, width = -(-height // stride), -(-width // stride)
        self.features = nn.Sequential(layers)
        self.dense = nn.Linear(channels * height * width, settings.dense)
        self.activation = activation_layer(settings.activation)
        self.head = nn.Linear(settings.dense, sizes["classes"])
        initialise_(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.activation(self.dense(self.features(images).flatten(1))))
