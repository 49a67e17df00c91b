"""First weights from a named initialiser, the same distributions that a recipe redraws from."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage] # the only common base

from regrow.draw.initialisers import resolve_initialiser


def initialise_(model: nn.Module, init: str) -> None:
    """Draw all convolution and linear weights anew and set their biases to zero, in place.

    The distribution of each layer is the one that `regrow.attach` resolves for the same name, so
    that a renewed filter and a first one are drawn alike. ``torch_default`` leaves the layers,
    biases too, as their own classes drew them.

    Edge cases:
        Drawn from torch's global generator, in the order of `model.modules()`.
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
