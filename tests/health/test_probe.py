"""The fresh-probe gap: what a network has lost of its ability to learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from health.sick import Mlp, images
from regrow.errors import ConfigError

X, Y = images(60)


def test_a_network_that_cannot_learn_any_more_has_a_gap() -> None:
    gaps: dict[str, float] = {}
    for name, bias in (("well", 0.0), ("dead", -100.0)):
        net: Any = Mlp(nn.ReLU())
        with torch.no_grad():
            net.two.bias += bias
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        health = regrow.inspect(net, X, targets=Y, optimizer=optimizer, steps=30)
        assert health.evidence[-1] == "30 steps"
        assert health.probe_gap is not None
        gaps[name] = health.probe_gap
        assert ("plasticity" in [each.key for each in health.advice]) == (name == "dead")
    assert gaps["dead"] > 0.5
    assert abs(gaps["well"]) < 0.1


def test_the_gap_is_that_of_two_trainings() -> None:
    """By hand: the same shuffle, the same fresh weights, plain SGD."""
    net = Mlp(nn.Tanh())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    found = regrow.inspect(net, X, targets=Y, optimizer=optimizer, steps=7).probe_gap
    torch.manual_seed(0)
    wanted = Y[torch.randperm(60)]
    fresh = Mlp(nn.Tanh())
    torch.manual_seed(0)
    torch.randperm(60)
    for layer in (fresh.one, fresh.two, fresh.head):
        layer.reset_parameters()
    ends: list[float] = []
    for each in (net, fresh):
        trains = torch.optim.SGD(each.parameters(), lr=0.3, momentum=0.9)
        for _ in range(7):
            trains.zero_grad()
            nn.functional.cross_entropy(each(X), wanted).backward()
            trains.step()
        ends.append(float(nn.functional.cross_entropy(each(X), wanted).detach()))
    assert found == pytest.approx(ends[0] - ends[1], abs=1e-5)


def test_what_cannot_be_drawn_anew_is_said() -> None:
    class Gated(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.ones(width))
            self.one, self.head = nn.Linear(192, width), nn.Linear(width, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.one(x.flatten(1)) * self.gate).tanh())

    health = regrow.inspect(Gated(6), X, targets=Y, steps=1)
    assert any("gate" in note for note in health.notes)

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 192))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x.flatten(1), self.weight)

    with pytest.raises(ConfigError, match="steps need modules that draw their own weights"):
        regrow.inspect(Bare(), X, targets=Y, steps=1)


def test_without_targets_there_is_nothing_to_learn() -> None:
    with pytest.raises(ConfigError, match="steps need targets"):
        regrow.inspect(Mlp(nn.ReLU()), X, steps=1)


def test_what_cannot_be_trained_on_is_said() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.BatchNorm1d(9), nn.Linear(9, 5))
    with pytest.raises(
        ConfigError, match="trains on the first batch, and a copy raised ValueError"
    ):
        regrow.inspect(net, X[:1], targets=Y[:1], steps=1)
