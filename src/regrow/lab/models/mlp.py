"""`mlp`: dense layers and nothing else, the network of most streams of tasks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import Tensor, nn

from regrow.lab.models.parts import activation_layer, initialise_
from regrow.lab.models.settings import MLPSettings, Sizes


class MLP(nn.Module):
    """`depth` times a dense layer, a norm if set, and an activation; then logits.

    Networks of one seed that differ in norm or activation start from the same weights. Two layers of 100 units are
    those of the permuted MNIST of most papers.
    """

    def __init__(self, *, settings: MLPSettings, **sizes: Unpack[Sizes]) -> None:
        super().__init__()
        height, width = sizes["image_size"]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        features = sizes["in_channels"] * height * width
        for number in range(1, settings.depth + 1):
            layers[f"dense{number}"] = nn.Linear(features, settings.width)
            if settings.norm == "layer":
                layers[f"norm{number}"] = nn.LayerNorm(settings.width)
            layers[f"{settings.activation}{number}"] = activation_layer(settings.activation)
            features = settings.width
        self.hidden = nn.Sequential(layers)
        self.head = nn.Linear(features, sizes["classes"])
        initialise_(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        return self.head(self.hidden(images.flatten(1)))
