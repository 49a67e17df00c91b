"""What networks are made of, by name: norms of convolutions, activations, and the first weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the only common base

from regrow.draw.initialisers import resolve_initialiser
from regrow.errors import ConfigError
from regrow.lab.models.settings import Activation, ConvolutionSettings, groups_of
from regrow.nn import GainControl2d


def norm_layer(
    settings: ConvolutionSettings, channels: int, *, size: tuple[int, int], where: str
) -> nn.Module:
    """Build a norm, with what it learns at its neutral start: gain 1, bias 0.

    Instance norm learns a gain and a bias for each channel, as the others do. No norm draws random numbers, so that
    networks of one seed that differ in their norm start from the same weights; convolutions keep their bias for that
    reason too, though behind a norm it does little or nothing.
    """
    norm = settings.norm
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    alone = norm != "group" or groups_of(channels) == channels
    if size == (1, 1) and alone:
        raise ConfigError(
            f"norm '{norm}' needs maps of more than one position, and layer {where} has maps of 1x1: take larger "
            "images, fewer or smaller layers, less pooling, or norm 'batch' or 'none'"
        )
    if norm == "group":
        return nn.GroupNorm(groups_of(channels), channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    return GainControl2d(
        channels,
        mean_scale=settings.mean_scale,
        learn_mean_scale=settings.gain_control_learn == "all",
        learn_gain=settings.gain_control_learn != "bias",
    )


def activation_layer(name: Activation) -> nn.Module:
    """Build an activation; a leaky ReLU with torch's own slope, 0.01."""
    return nn.ReLU() if name == "relu" else nn.LeakyReLU()


def initialise_(model: nn.Module, init: str) -> None:
    """Draw all convolution and linear weights anew from torch's generator and set their biases to zero, in place.

    As `regrow.attach` resolves the same name, so that a renewed filter and a first one are drawn alike;
    ``torch_default`` leaves the layers, biases too, as their own classes drew them.
    """
    if init == "torch_default":
        return
    with torch.no_grad():
        for name, layer in model.named_modules():
            if not isinstance(layer, _ConvNd | nn.Linear):
                continue
            drawn = resolve_initialiser(init, weight=layer.weight, where=name)
            if drawn.distribution == "uniform":
                layer.weight.uniform_(-drawn.scale, drawn.scale)
            elif drawn.distribution == "normal":
                layer.weight.normal_(0.0, drawn.scale)
            elif drawn.distribution == "trunc_normal":
                nn.init.trunc_normal_(layer.weight, std=drawn.scale, a=-drawn.bound, b=drawn.bound)
            else:
                nn.init.orthogonal_(layer.weight, gain=drawn.scale)
            if layer.bias is not None:
                layer.bias.zero_()
