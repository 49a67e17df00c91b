"""Where the longest step is known beforehand nothing is copied, and nothing is missed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from crossed import crossed, pairs
from guard.driving import bits, drive, guarding, noise, same_bits
from regrow.guard import StepLimit
from regrow.guard.bounded import longest_steps


class Operations(TorchDispatchMode):
    """Counts what torch is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def asked_for(optimizer: Optimizer, net: nn.Module) -> Counter[str]:
    """What the guard asks for in one step within the limit."""
    guard = guarding(StepLimit(), net, torch.zeros(2, 5))
    drive(net, optimizer, noise(2, 5), guard)
    x, y = noise(1, 5)[0]
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    with Operations() as before:
        guard.before_step_(optimizer)
    optimizer.step()
    with Operations() as after:
        guard.after_step_(optimizer)
    assert guard.hits == {}
    return before.counts + after.counts


def test_plain_descent_within_the_limit_costs_the_gradients_lengths() -> None:
    net = network()
    counts = asked_for(torch.optim.SGD(net.parameters(), lr=0.01), net)
    assert counts == {"_foreach_norm": 1, "stack": 1}


def test_others_are_compared_by_few_operations() -> None:
    net = network()
    counts = asked_for(torch.optim.Adam(net.parameters(), lr=1e-4), net)
    assert counts["_foreach_copy_"] == counts["_foreach_sub"] == 1
    assert counts["_foreach_norm"] == 2  # gradients and steps: lengths are not needed
    assert counts.total() <= 20


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"maximize": True},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "dampening": -0.5},
        {"momentum": 0.9, "nesterov": True},
        {"weight_decay": 0.5},
        {"momentum": 0.9, "weight_decay": 0.5, "nesterov": True},
    ],
)
def test_no_step_is_longer_than_it_can_be(settings: dict[str, Any]) -> None:
    net = network()
    parameters = list(net.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.3, **settings)
    for x, y in noise(10, 5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        before = [each.detach().clone() for each in parameters]
        lengths = [float(each.grad.norm()) for each in parameters]  # type: ignore[union-attr]
        found = longest_steps(optimizer, parameters, lengths)
        assert found is not None
        optimizer.step()
        for old, new, most in zip(before, parameters, found, strict=True):
            step = float((old - new.detach()).norm())
            assert step <= most * (1 + 1e-5)
            # Plain descent goes exactly so far, and the bound of others is not far off.
            assert step >= (0.999 if not settings.keys() - {"maximize"} else 0.02) * most


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=torch.tensor(0.3)),
        lambda p: torch.optim.Adam(p, lr=0.3),
        lambda p: type("Mine", (torch.optim.SGD,), {})(p, lr=0.3),
    ],
)
def test_of_others_nothing_is_known(make: Any) -> None:
    parameters = list(network().parameters())
    assert longest_steps(make(parameters), parameters, [1.0] * 4) is None


def test_half_precision_rounds_too_much_for_it() -> None:
    half = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    assert longest_steps(torch.optim.SGD([half], lr=0.1), [half], [1.0]) is None


@pytest.mark.parametrize(
    ("lr", "momentum", "by"),
    crossed(pairs([0.05, 0.2, 0.8, 3.0], [0.0, 0.9]), ["layer", "unit", "network"]),
)
def test_with_and_without_the_short_cut_it_is_one_training(
    lr: float, momentum: float, by: str
) -> None:
    """A subclass of SGD is not known, and steps as SGD does."""
    unknown = type("Mine", (torch.optim.SGD,), {})
    trained = []
    for kind in (torch.optim.SGD, unknown):
        net = network()
        guard = guarding(StepLimit(by=by), net, torch.zeros(2, 5))  # type: ignore[arg-type]
        drive(
            net,
            kind(net.parameters(), lr=lr, momentum=momentum, weight_decay=momentum / 9),
            noise(20, 5),
            guard,
        )
        trained.append((bits(net), guard.hits))
    assert same_bits(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]
