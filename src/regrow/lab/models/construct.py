"""Networks from their settings, with weights that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from regrow.lab.models.convnet import ConvNet
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.resnet import ResNet
from regrow.lab.models.settings import ConvNetSettings, CraterCNNSettings, ResNetSettings


def construct(
    settings: CraterCNNSettings | ConvNetSettings | ResNetSettings,
    *,
    depth: int,
    in_channels: int,
    image_size: tuple[int, int],
    classes: int,
) -> nn.Module:
    """Build the network that a settings class belongs to, with weights from torch's global generator.

    Args:
        settings: Checked settings; their class says which network.
        depth: Number of weighted layers of a ResNet; not used by the others.
        in_channels: Channels of the images.
        image_size: Height and width of the images, pixels.
        classes: Number of classes.

    Returns:
        The network, in training mode.
    """
    if isinstance(settings, CraterCNNSettings):
        return CraterCNN(
            in_channels=in_channels, image_size=image_size, classes=classes, settings=settings
        )
    if isinstance(settings, ConvNetSettings):
        return ConvNet(
            in_channels=in_channels, image_size=image_size, classes=classes, settings=settings
        )
    return ResNet(
        depth=depth,
        in_channels=in_channels,
        image_size=image_size,
        classes=classes,
        settings=settings,
    )


def drawn_from_seed(make: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Call `make` with torch's CPU generator set to a seed, and put the generator back as it was, also after an error.

    Args:
        make: Builds a network on the CPU.
        seed: The seed.

    Returns:
        What `make` returned.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would set the accelerators' generators too, and nothing would put them back.
        torch.default_generator.manual_seed(seed)
        return make()
