"""One layer in a small network, for tests of renewals."""

from typing import Any

import torch
from torch import nn

import regrow
from regrow.loop.start.initialisers import resolve_layers
from regrow.renewal import Edit, Layer, Scion


def layer_of(module: nn.Module) -> tuple[nn.Module, Layer]:
    """The module in a small network, as a renewal sees it."""
    net = nn.Sequential(
        module, nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 1), nn.Flatten(), nn.Linear(108, 2)
    )
    wiring = regrow.trace(net.eval(), torch.zeros(1, module.in_channels, 6, 6))
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    (layer,) = resolve_layers(net, [wiring["0"]], tensors, init=None, with_readers=False)
    return net, layer


def edits_of(scion: Scion, net: nn.Module, layer: Layer, *marked: int, **key: int) -> list[Edit]:
    """What a scion makes of the marked filters, and that it writes nothing itself."""
    mask = torch.zeros(layer.filters.count, dtype=torch.bool)
    mask[list(marked)] = True
    params: dict[str, Any] = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    before = {name: value.detach().clone() for name, value in params.items()}
    edits = scion.edits(layer, mask, params=params, **{"seed": 0, "step": 9, **key})
    for name, value in before.items():
        assert torch.equal(value.nan_to_num(), params[name].detach().nan_to_num())
    return edits
