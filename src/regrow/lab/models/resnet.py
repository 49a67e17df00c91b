"""`resnet20`, `resnet32`, `resnet56`: the CIFAR residual networks with parameter-free shortcuts (option A)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 # the name that every reader of torch code expects

from regrow.errors import ConfigError
from regrow.lab.models.parts import initialise_, norm_layer
from regrow.lab.models.settings import ResNetSettings, Sizes


class BasicBlock(nn.Module):
    """relu(x' + bn(conv(relu(bn(conv(x)))))), with x' = x, or x subsampled and padded with zero channels."""

    def __init__(
        self,
        in_channels: int,  # channels that come in
        out_channels: int,  # channels that go out, at least as many
        *,
        stride: int,  # 1, or 2 to halve the map
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,  # builds bn from its number of channels
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = out_channels - in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = norm(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the block."""
        residual = torch.relu(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        if self.stride != 1 or self.padding:
            maps = maps[:, :, :: self.stride, :: self.stride]
            before = self.padding // 2
            maps = F.pad(maps, (0, 0, 0, 0, before, self.padding - before))
        return torch.relu(maps + residual)


class ResNet(nn.Module):
    """A convolution, three stages of equal depth at full, half and quarter resolution, average pooling, logits.

    Of 6 n + 2 weighted layers. The norms keep the names ``bn1`` and ``bn2``, whichever they are.

    Source:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, Section 4.2.
        https://arxiv.org/abs/1512.03385 Kaiming initialisation: He et al., "Delving Deep into Rectifiers", ICCV 2015.
        Differs: the new channels of a shortcut are padded half before and half after, as is usual in code; the paper
        says only that they are zero. The last linear layer is drawn like the convolutions.
    """

    def __init__(self, *, depth: int, settings: ResNetSettings, **sizes: Unpack[Sizes]) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(
                f"depth must be 6 n + 2 with n at least 1, got {depth} (model resnet)"
            )
        blocks, width, image_size = (depth - 2) // 6, settings.width, sizes["image_size"]
        self.conv1 = nn.Conv2d(sizes["in_channels"], width, 3, padding=1, bias=False)
        self.bn1 = norm_layer(settings, width, size=image_size, where="bn1")
        norms = [
            partial(norm_layer, settings, size=size, where=f"stage{stage}")
            for stage, size in enumerate(_sizes(image_size), 1)
        ]
        self.stage1 = _stage(width, width, blocks=blocks, stride=1, norm=norms[0])
        self.stage2 = _stage(width, 2 * width, blocks=blocks, stride=2, norm=norms[1])
        self.stage3 = _stage(2 * width, 4 * width, blocks=blocks, stride=2, norm=norms[2])
        self.head = nn.Linear(4 * width, sizes["classes"])
        initialise_(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """Classify."""
        maps = torch.relu(self.bn1(self.conv1(images)))
        maps = self.stage3(self.stage2(self.stage1(maps)))
        return self.head(maps.mean(dim=(2, 3)))


def _stage(
    in_channels: int,
    out_channels: int,
    *,
    blocks: int,
    stride: int,
    norm: Callable[[int], nn.Module],
) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride=stride, norm=norm)
    rest = (BasicBlock(out_channels, out_channels, stride=1, norm=norm) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def _sizes(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """The size of each stage's maps: halved from the second on, and rounded up."""
    height, width = image_size
    return [(-(-height // step), -(-width // step)) for step in (1, 2, 4)]
