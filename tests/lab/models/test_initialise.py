"""Drawn weights against the distributions they are named after."""

from __future__ import annotations

import math

import pytest
import torch

from regrow.lab.models.parts import initialise_


def drawn(init: str) -> torch.nn.Module:
    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(16, 64, 5),
        torch.nn.BatchNorm2d(64),
        torch.nn.Flatten(),
        torch.nn.Linear(256, 128),
    )
    initialise_(model, init)
    return model


@pytest.mark.parametrize(
    ("init", "conv_std", "linear_std"),
    [
        ("xavier_uniform", math.sqrt(2 / (400 + 1600)), math.sqrt(2 / 384)),
        ("xavier_normal", math.sqrt(2 / (400 + 1600)), math.sqrt(2 / 384)),
        ("kaiming_uniform", math.sqrt(2 / 400), math.sqrt(2 / 256)),
        ("kaiming_normal", math.sqrt(2 / 400), math.sqrt(2 / 256)),
        ("uniform:0.01", 0.01 / math.sqrt(3), 0.01 / math.sqrt(3)),
        ("normal:0.3", 0.3, 0.3),
        ("trunc_normal:0.04", 0.04, 0.04),
    ],
)
def test_standard_deviations_and_bounds(init: str, conv_std: float, linear_std: float) -> None:
    model = drawn(init)
    for layer, std in ((model[0], conv_std), (model[3], linear_std)):
        weight = layer.weight.detach().double()
        assert float(weight.std()) == pytest.approx(std, rel=0.02)
        assert abs(float(weight.mean())) < 4 * std / math.sqrt(weight.numel())
        if "uniform" in init:
            assert float(weight.abs().max()) == pytest.approx(math.sqrt(3) * std, rel=0.01)
        else:
            assert float(weight.abs().max()) > 2.5 * std
        assert (layer.bias == 0).all()


def test_a_truncated_normal_may_be_cut_off_elsewhere_than_torch_does() -> None:
    # Cut off at two standard deviations: variance s^2 (1 - 4 phi(2) / (2 Phi(2) - 1)).
    inside = math.erf(2 / math.sqrt(2))
    std = 0.04 * math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / inside)
    weight = drawn("trunc_normal:0.04:0.08")[0].weight.detach().double()
    assert float(weight.std()) == pytest.approx(std, rel=0.02)
    assert 0.079 < float(weight.abs().max()) <= 0.08


def test_orthogonal_rows() -> None:
    weight = drawn("orthogonal")[0].weight.detach().double().flatten(1)
    torch.testing.assert_close(
        weight @ weight.T, torch.eye(64, dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_torch_default_leaves_the_layers_own_draw() -> None:
    torch.manual_seed(3)
    own = torch.nn.Conv2d(16, 64, 5)
    layer = drawn("torch_default")[0]
    assert torch.equal(layer.weight, own.weight)
    assert torch.equal(layer.bias, own.bias)


def test_norm_layers_are_left_alone() -> None:
    norm = drawn("kaiming_normal")[1]
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()
