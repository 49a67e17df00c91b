"""Networks that nobody thought of: random branches, sums, concatenations, groups and gates, judged by running them."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from graph.nets import randomised
from graph.oracle import check_wiring
from regrow.graph import trace

KINDS = (
    "conv",
    "grouped",
    "depthwise",
    "norm",
    "add",
    "raw",
    "cat",
    "gate",
    "split",
    "shuffle",
    "up",
    "pool",
)


@dataclass(frozen=True)
class Step:
    """What is done, with which of the tensors so far (counted from the last), and a width."""

    kind: str
    first: int
    second: int
    width: int


class RandomNet(nn.Module):
    """A stem, the steps, and a linear layer over every tensor that nobody used."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.steps = steps
        self.parts = nn.ModuleDict()
        self.parts["stem"] = nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            features = self._features(torch.zeros(2, 3, 4, 4), build=True)
        self.parts["head"] = nn.Linear(features.shape[1], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.parts["head"](self._features(x, build=False))

    def _features(self, x: Tensor, *, build: bool) -> Tensor:
        made = [F.leaky_relu(self.parts["stem"](x))]
        used = set[int]()
        for number, step in enumerate(self.steps):
            picks = [(len(made) - 1 - back) % len(made) for back in (step.first, step.second)]
            two = step.kind in {"add", "cat", "gate"}
            used.update(picks if two else picks[:1])
            second = x if step.kind == "raw" else made[picks[1]]
            made.append(self._step(f"s{number}", step, made[picks[0]], second, build=build))
        loose = [each for number, each in enumerate(made) if number not in used]
        return torch.cat(
            [
                each.amax((2, 3)) if number % 2 else each.flatten(1)
                for number, each in enumerate(loose)
            ],
            1,
        )

    def _step(self, name: str, step: Step, a: Tensor, b: Tensor, *, build: bool) -> Tensor:
        width = a.shape[1]
        groups = 2 if width % 2 == 0 else 1
        if build:
            made: nn.Module | None = {
                "conv": lambda: nn.Conv2d(width, step.width, 3, padding=1),
                "grouped": lambda: nn.Conv2d(width, 2 * groups, 1, groups=groups),
                "depthwise": lambda: nn.Conv2d(width, width, 3, padding=1, groups=width),
                "norm": lambda: nn.BatchNorm2d(width),
                "up": lambda: nn.ConvTranspose2d(width, 2 * groups, 3, padding=1, groups=groups),
            }.get(step.kind, lambda: None)()
            if made is not None:
                self.parts[name] = made
        if name in self.parts:
            return F.leaky_relu(self.parts[name](a), inplace=step.width % 2 == 0)
        return _without_weights(step.kind, a, b, groups=groups)


def _without_weights(kind: str, a: Tensor, b: Tensor, *, groups: int) -> Tensor:
    shared = min(a.shape[1], b.shape[1])
    if kind in {"add", "raw"}:
        return torch.cat([a[:, :shared] + b[:, :shared], a[:, shared:]], 1)
    if kind == "gate":
        return a[:, :shared] * torch.sigmoid(b[:, :shared].mean((2, 3), keepdim=True))
    if kind == "cat":
        return torch.cat([a, b], 1)[:, :9]
    if kind == "split":
        return torch.cat(a.chunk(2, 1)[::-1], 1)
    if kind == "shuffle":
        return a.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
    return F.max_pool2d(a, 3, 1, 1)


steps = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(KINDS),
        first=st.integers(0, 2),
        second=st.integers(0, 3),
        width=st.integers(1, 4),
    ),
    min_size=2,
    max_size=6,
)


def judge(steps: list[Step], seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = randomised(RandomNet(steps))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 3, 4, 4, generator=generator, dtype=torch.float64)
    wiring = trace(net, x[:1])
    assert not wiring.remarks
    assert not any(layer.refused for layer in wiring.layers)
    check_wiring(net, x, wiring, per_layer=2)


FIXED = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow],
}


@settings(max_examples=8, **FIXED)
@given(steps=steps, seed=st.integers(0, 1000))
def test_no_reader_is_wrong_in_random_nets(steps: list[Step], seed: int) -> None:
    judge(steps, seed)


@pytest.mark.slow
@settings(max_examples=500, **FIXED)
@given(steps=steps, seed=st.integers(0, 1000))
def test_no_reader_is_wrong_in_five_hundred_random_nets(steps: list[Step], seed: int) -> None:
    judge(steps, seed)
