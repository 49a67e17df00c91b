"""Networks from their settings, with weights that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import torch
from torch import nn

from regrow.lab.models.convnet import ConvNet
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.resnet import ResNet
from regrow.lab.models.settings import ConvNetSettings, NetworkSettings, ResNetSettings, Sizes


def construct(settings: NetworkSettings, *, depth: int, **sizes: Unpack[Sizes]) -> nn.Module:
    """Build the network that a settings class belongs to, with weights from torch's global generator.

    Args:
        depth: Number of weighted layers of a ResNet; not used by the others.
    """
    if isinstance(settings, ResNetSettings):
        return ResNet(depth=depth, settings=settings, **sizes)
    if isinstance(settings, ConvNetSettings):
        return ConvNet(settings=settings, **sizes)
    return CraterCNN(settings=settings, **sizes)


def drawn_from_seed(make: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Call `make` with torch's CPU generator set to a seed, and put the generator back, also after an error."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would set the accelerators' generators too, and nothing would put them back.
        torch.default_generator.manual_seed(seed)
        return make()
