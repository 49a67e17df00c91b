"""`convnet`: a plain stack of convolutions, the vanilla network of the RePr paper."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import Tensor, nn

from regrow.lab.models.parts import initialise_, norm_layer
from regrow.lab.models.settings import ConvNetSettings, Sizes


class ConvNet(nn.Module):
    """`depth` times convolution, ReLU and, if set, pooling; then logits. Depth 3 and width 32 are C^3(32) of the paper.

    Source:
        Prakash et al., "RePr: Improved Training of Convolutional Filters", CVPR 2019, Section 4.
        https://arxiv.org/abs/1811.07275 Differs: where the paper's networks pool is not known; here after each
        convolution while the map is at least 4 pixels. Its published parameter counts fit convolutions with bias and
        batch norm (``norm="batch"``). The author's released code has ``kernel=5``, ``pool_size=3`` (with images of even
        size the windows lie where TensorFlow's do) and ``init="trunc_normal:0.04:0.08"``.
    """

    def __init__(self, *, settings: ConvNetSettings, **sizes: Unpack[Sizes]) -> None:
        super().__init__()
        height, width = sizes["image_size"]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = sizes["in_channels"]
        for number in range(1, settings.depth + 1):
            layers[f"conv{number}"] = nn.Conv2d(
                channels, settings.width, settings.kernel, padding=settings.kernel // 2
            )
            if settings.norm != "none":
                where = f"features.norm{number}"
                layers[f"norm{number}"] = norm_layer(
                    settings, settings.width, size=(height, width), where=where
                )
            layers[f"relu{number}"] = nn.ReLU()
            if settings.pool and min(height, width) >= 4:
                # Windows of 3 halve the map too if the last one may hang over the edge.
                layers[f"pool{number}"] = nn.MaxPool2d(
                    settings.pool_size, 2, ceil_mode=settings.pool_size > 2
                )
                height, width = height // 2, width // 2
            channels = settings.width
        if settings.head == "average":
            layers["average"] = nn.AdaptiveAvgPool2d(1)
            height, width = 1, 1
        self.features = nn.Sequential(layers)
        self.head = nn.Linear(settings.width * height * width, sizes["classes"])
        initialise_(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.features(images).flatten(1))
