"""Whole networks as people train them, against the oracles: the lab's, and torchvision's."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

import regrow
from partners import oracle
from partners.nets import copies
from regrow.lab.models import registry
from zoo.nets import WHY_NOT_HERE, torchvision

EXAMPLE = torch.zeros(2, 3, 32, 32)


def _lab(name: str, seed: int) -> nn.Module:
    return registry.build(name, in_channels=3, image_size=(32, 32), classes=10, seed=seed)


def _shufflenet(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return torchvision().models.shufflenet_v2_x0_5(weights=None, num_classes=10)


def _judge(models: list[nn.Module], events: int, **settings: str) -> None:
    """Every floating tensor within rounding of the float64 oracle, all shares as it has them."""
    before = [copies(model) for model in models]
    wiring = regrow.trace(models[0], EXAMPLE)
    grafter = regrow.attach_partners(
        regrow.FilterGrafting(partners=len(models), **settings),  # type: ignore[arg-type]
        models,
        [torch.optim.SGD(model.parameters(), lr=0.1) for model in models],
        wiring=wiring,
        hooks=False,
    )
    found = [event for event in grafter.graft() if event.partner == 0]
    assert len(found) == events
    shares = {}
    for event in found:
        own, partner = (
            oracle.entropy(before[k][f"{event.layer}.weight"].double().reshape(-1).tolist())
            for k in (0, -1)
        )
        shares[event.layer] = oracle.alpha(own, partner)
        assert event.share == pytest.approx(shares[event.layer], abs=1e-9)
    assert len({round(share, 6) for share in shares.values()}) > 3
    table = {layer.path: layer.path for layer in wiring.layers}
    for layer in wiring.layers:
        for norm in layer.norms:
            table[norm.path] = layer.path
    for name, value in models[0].state_dict().items():
        if not value.is_floating_point():
            assert torch.equal(value, before[-1][name])
            continue
        share = shares[table[name.rpartition(".")[0]]]
        expected = share * before[0][name].double() + (1 - share) * before[-1][name].double()
        assert torch.allclose(value.double(), expected, rtol=1e-6, atol=1e-6), name


def test_resnet20() -> None:
    _judge([_lab("resnet20", seed) for seed in range(2)], 20)


def test_convnet() -> None:
    _judge([_lab("convnet", seed) for seed in range(3)], 4)


def test_resnet20_as_the_public_code_does_it() -> None:
    """Its names have 'conv' in them; the head and all norms take the share of the convolution before them."""
    models = [_lab("resnet20", seed) for seed in range(2)]
    before = [copies(model) for model in models]
    regrow.attach_partners(
        regrow.FilterGrafting(mode="reference", drop_maximum=True, decimals=2),
        models,
        [torch.optim.SGD(model.parameters(), lr=0.1) for model in models],
        hooks=False,
    ).graft()
    expected = oracle.public_graft(before)
    for k, model in enumerate(models):
        for name, value in model.state_dict().items():
            assert torch.allclose(value, expected[k][name], rtol=0, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason=WHY_NOT_HERE)
def test_torchvisions_shufflenet() -> None:
    """Depthwise layers, and channels that are split and shuffled."""
    _judge([_shufflenet(seed) for seed in range(2)], 57)
