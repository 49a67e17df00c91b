"""`cratercnn`: the network of the RandomOut paper's crater experiments."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from regrow.errors import ConfigError
from regrow.lab.models.parts import initialise_, norm_layer
from regrow.lab.models.settings import CraterCNNSettings, Sizes


class CraterCNN(nn.Module):
    """Two convolutions without pooling, one hidden dense layer, logits.

    Source:
        Cohen, Lo, Ding, "RandomOut: Using a convolutional gradient norm to win The Filter Lottery", ICLR 2016 workshop,
        Section 3. https://arxiv.org/abs/1602.05931 Differs: the paper leaves padding, the dense width and the
        activation after the convolutions open; here no padding, 500 (the author's code) and ReLU.
    """

    def __init__(self, *, settings: CraterCNNSettings, **sizes: Unpack[Sizes]) -> None:
        super().__init__()
        filters, kernel, padding = settings.filters, settings.kernel, settings.padding
        sides = [_map_sides(side, kernel=kernel, padding=padding) for side in sizes["image_size"]]
        (first, last) = ((sides[0][layer], sides[1][layer]) for layer in (0, 1))
        self.conv1 = nn.Conv2d(sizes["in_channels"], filters, kernel, padding=padding)
        self.norm1 = norm_layer(settings, filters, size=first, where="norm1")
        self.conv2 = nn.Conv2d(filters, filters, kernel, padding=padding)
        self.norm2 = norm_layer(settings, filters, size=last, where="norm2")
        self.dense = nn.Linear(filters * last[0] * last[1], settings.dense)
        self.head = nn.Linear(settings.dense, sizes["classes"])
        initialise_(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        maps = torch.relu(self.norm1(self.conv1(images)))
        maps = torch.relu(self.norm2(self.conv2(maps)))
        return self.head(torch.relu(self.dense(maps.flatten(1))))


def _map_sides(side: int, *, kernel: int, padding: int) -> tuple[int, int]:
    """Height or width after each of the convolutions, or an error with the arithmetic."""
    after_first = side + 2 * padding - kernel + 1
    after_second = after_first + 2 * padding - kernel + 1
    if after_first < 1 or after_second < 1:
        smallest = max(2 * (kernel - 2 * padding - 1) + 1, kernel - 2 * padding, 1)
        raise ConfigError(
            f"images must be at least {smallest} pixels high and wide for two {kernel}x{kernel} convolutions with "
            f"padding {padding}, got {side}: {side} -> {after_first} -> {after_second} (model cratercnn)"
        )
    return after_first, after_second
