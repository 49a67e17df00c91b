"""Where the longest step is known beforehand nothing is copied, and nothing is missed."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from crossed import crossed
from guard.driving import bits, drive, guarding, noise, same_bits
from regrow.guard import StepLimit
from regrow.guard.bounded import StepBounds


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
    counts = asked_for(torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5), net)
    assert counts == {"_foreach_norm": 1, "stack": 1}


def test_the_state_of_plain_descent_stays_empty() -> None:
    """To look for what is not there must not make an entry, which would be saved with the optimizer."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    asked_for(optimizer, net)
    assert not optimizer.state
    assert optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_at_a_small_rate_costs_the_gradients_lengths(kind: type[Optimizer]) -> None:
    net = network()
    counts = asked_for(kind(net.parameters(), lr=1e-4, weight_decay=0.0), net)  # type: ignore[call-arg]
    assert counts.pop("_local_scalar_dense", 4) == 4  # the count of each parameter's steps
    assert counts == {"_foreach_norm": 1, "stack": 1}


def test_others_are_compared_by_few_operations() -> None:
    net = network()
    counts = asked_for(torch.optim.RAdam(net.parameters(), lr=1e-4), net)
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
    bounds = StepBounds(optimizer)
    for number, (x, y) in enumerate(noise(10, 5)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        before = [each.detach().clone() for each in parameters]
        lengths = [float(each.grad.norm()) for each in parameters]  # type: ignore[union-attr]
        followed = bounds.longest(parameters, lengths)
        found = StepBounds(optimizer).longest(parameters, lengths)
        assert found is not None
        assert followed is not None
        if number == 5:  # somebody writes: then it is looked at again
            for each in parameters:
                for kept in optimizer.state[each].values():
                    if isinstance(kept, Tensor):
                        kept.add_(0.1)
            found = bounds.longest(parameters, lengths)
            assert found is not None
            followed = list(found)
        optimizer.step()
        bounds.stepped()
        for old, new, most in zip(before, parameters, found, strict=True):
            step = float((old - new.detach()).norm())
            assert step <= most * (1 + 1e-5)
            assert most <= followed.pop(0) * (1 + 1e-5)
            # Plain descent goes exactly so far, and the bound of others is not far off.
            assert step >= (0.999 if not settings.keys() - {"maximize"} else 0.02) * most


ADAMS: list[Any] = [
    lambda p: torch.optim.Adam(p, lr=0.1),
    lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.1),
    lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.9), foreach=True),
    lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.9, 0.95), fused=True, maximize=True),
    lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
]


@pytest.mark.parametrize(
    ("make", "gradients"), crossed(ADAMS, ["equal", "one spike", "rare", "growing", "tiny"])
)
def test_no_step_of_adam_is_longer_than_it_can_be(make: Any, gradients: str) -> None:
    """Whatever gradients come: those that make its steps as long as they get are among them."""
    weight = nn.Parameter(torch.linspace(-1, 1, 16))
    optimizer = make([weight])
    bounds = StepBounds(optimizer)
    generator = torch.Generator().manual_seed(0)
    longest = 0.0
    for step in range(60):
        size = {
            "equal": 1.0,
            "one spike": 1e6 if step == 40 else 1.0,
            "rare": float(step % 20 == 19),
            "growing": (0.9**-step) * 1e-3,  # the case of equality, but for the end of the sums
            "tiny": 1e-30,
        }[gradients]
        weight.grad = size * (1 + 0.1 * torch.rand(16, generator=generator))
        before = weight.detach().double()
        (most,) = bounds.longest([weight], [0.0]) or (None,)
        assert most is not None
        optimizer.step()
        bounds.stepped()
        step_length = float((weight.detach().double() - before).norm())
        assert step_length <= most * (1 + 1e-5)
        longest = max(longest, step_length / most)
    if gradients in {"equal", "one spike", "growing"}:
        assert longest > 0.75  # and it is not far off


def test_means_that_came_about_in_another_way_are_known_for_it() -> None:
    """Loaded, or made with other constants: then a step may be longer than these constants allow."""
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    bounds = StepBounds(optimizer)
    weight.grad = torch.ones(4)

    def is_known() -> bool:
        found = bounds.longest([weight], [1.0]) is not None
        optimizer.step()
        bounds.stepped()
        return found

    assert is_known()
    assert is_known()
    good = copy.deepcopy(optimizer.state_dict())
    optimizer.param_groups[0]["betas"] = (0.8, 0.999)  # as a schedule does that moves momentum
    assert not is_known()
    optimizer.param_groups[0]["betas"] = (0.9, 0.999)
    assert not is_known()
    optimizer.load_state_dict(good)
    assert is_known()
    optimizer.state[weight]["exp_avg"].fill_(3.0)
    assert not is_known()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=torch.tensor(0.3)),
        lambda p: torch.optim.Adam(p, lr=torch.tensor(0.3)),
        lambda p: torch.optim.Adam(p, lr=0.3, eps=0.0),
        lambda p: torch.optim.Adam(p, lr=0.3, betas=(0.99, 0.9)),
        lambda p: torch.optim.NAdam(p, lr=0.3),
        lambda p: torch.optim.RMSprop(p, lr=0.3),
        lambda p: type("Mine", (torch.optim.SGD,), {})(p, lr=0.3),
    ],
)
def test_of_others_nothing_is_known(make: Any) -> None:
    parameters = list(network().parameters())
    assert StepBounds(make(parameters)).longest(parameters, [1.0] * 4) is None


def test_half_precision_rounds_too_much_for_it() -> None:
    half = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    assert StepBounds(torch.optim.SGD([half], lr=0.1)).longest([half], [1.0]) is None


@pytest.mark.parametrize(
    ("lr", "momentum", "by"),
    crossed([0.05, 0.2, 0.8, 3.0], [0.9, 0.0], ["layer", "unit", "network"]),
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


@pytest.mark.parametrize(
    ("lr", "decay", "by"),
    crossed([0.003, 0.01, 0.02, 0.3], [0.0, 0.1], ["layer", "unit", "network"]),
)
def test_with_and_without_the_short_cut_adam_is_one_training(
    lr: float, decay: float, by: str
) -> None:
    unknown = type("Mine", (torch.optim.AdamW,), {})
    trained = []
    for kind in (torch.optim.AdamW, unknown):
        net = network()
        guard = guarding(StepLimit(by=by), net, torch.zeros(2, 5))  # type: ignore[arg-type]
        drive(net, kind(net.parameters(), lr=lr, weight_decay=decay), noise(20, 5), guard)
        trained.append((bits(net), guard.hits))
    assert same_bits(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]
