"""What begins with next to no length learns under the guard as it does without: after 200 steps on real digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from crossed import crossed, seldom
from guard.driving import drive, guarding
from regrow.guard import StepLimit


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(data.data, dtype=torch.float32)[order] / 16 - 0.3
    return x, torch.tensor(data.target)[order]


class Block(nn.Module):
    """Adds to its input what two layers make of it, times a gate."""

    def __init__(self, gate: Tensor) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
        self.gate = nn.Parameter(gate)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.inner(x)


class Adapter(nn.Module):
    """A frozen layer with a product of two thin matrices beside it; the second begins at 0."""

    def __init__(self, inputs: int, outputs: int, *, layers: bool) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs).requires_grad_(False)
        self.first: nn.Linear | nn.Parameter
        if layers:
            self.first = nn.Linear(inputs, 8, bias=False)
            self.second = nn.Linear(8, outputs, bias=False)
            nn.init.zeros_(self.second.weight)
        else:
            self.a = nn.Parameter(torch.randn(8, inputs) / inputs**0.5)
            self.b = nn.Parameter(torch.zeros(outputs, 8))
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        beside = self.second(self.first(x)) if self.layers else x @ self.a.T @ self.b.T  # type: ignore[operator]
        return self.base(x) + beside


def zero_head() -> nn.Module:
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    for each in net[2].parameters():
        nn.init.zeros_(each)
    return net


def gated(gate: Tensor) -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), Block(gate), Block(gate.clone()), nn.Linear(32, 10)
    )


def norm_at_zero() -> nn.Module:
    net = nn.Sequential(
        nn.Linear(64, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.BatchNorm1d(32),
        nn.Linear(32, 10),
    )
    nn.init.zeros_(net[4].weight)
    return net


def biases_only() -> nn.Module:
    net = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    for each in (net[0], net[2], net[4]):
        each.weight.requires_grad_(False)  # type: ignore[union-attr]
        nn.init.zeros_(each.bias)  # type: ignore[arg-type]
    return net


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "zero head": zero_head,
    "LoRA of layers": lambda: nn.Sequential(
        Adapter(64, 32, layers=True), nn.ReLU(), Adapter(32, 10, layers=True)
    ),
    "LoRA of parameters": lambda: nn.Sequential(
        Adapter(64, 32, layers=False), nn.ReLU(), Adapter(32, 10, layers=False)
    ),
    "layer scale": lambda: gated(torch.full((32,), 1e-6)),
    "ReZero": lambda: gated(torch.zeros(())),
    "norm at 0": norm_at_zero,
    "biases only": biases_only,
}


def accuracy(kind: str, optimizer: str, *, guarded: bool) -> float:
    torch.manual_seed(1)
    net = NETWORKS[kind]()
    x, y = digits()
    batches = [
        (x[start : start + 64], y[start : start + 64])
        for start in (64 * (step % 20) for step in range(200))
    ]
    trained = [each for each in net.parameters() if each.requires_grad]
    made = {
        "sgd": lambda: torch.optim.SGD(trained, lr=0.1, momentum=0.9),
        "adam": lambda: torch.optim.Adam(trained, lr=1e-2),
    }[optimizer]()
    drive(net, made, batches, guarding(StepLimit(), net, x[:2]) if guarded else None)
    net.eval()
    with torch.no_grad():
        return float((net(x[1280:]).argmax(1) == y[1280:]).float().mean())


OFTEN = {"LoRA of parameters", "ReZero", "norm at 0"}
"""The others are near relatives of these."""


@pytest.mark.parametrize(
    ("kind", "optimizer"), crossed(seldom(NETWORKS, often=OFTEN), ("sgd", "adam"))
)
def test_two_hundred_steps_reach_what_they_reach_without(kind: str, optimizer: str) -> None:
    plain = accuracy(kind, optimizer, guarded=False)
    guarded = accuracy(kind, optimizer, guarded=True)
    assert plain > 0.2  # it does learn: one of ten is chance
    assert guarded >= 0.9 * plain
