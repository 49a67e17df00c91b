"""What holds for every guard, driven by the rows."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import regrow.guard
from contract.rows import GUARD_VARIANTS, GUARDS
from crossed import crossed
from guard.driving import bits, drive, guarding, noise, same_bits
from regrow.guard import Guard, Guarding, StepParameters

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=0.01),
    "adamw, fused": lambda net: torch.optim.AdamW(net.parameters(), lr=0.01, fused=True),
    "rmsprop": lambda net: torch.optim.RMSprop(net.parameters(), lr=0.003),
}


def network() -> nn.Sequential:
    """Layers of every kind, a norm, a vector of its own, and a layer that nobody trains."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2),
        nn.BatchNorm2d(4),
        nn.PReLU(4),
        nn.ConvTranspose2d(4, 6, 2, groups=2),
        nn.ReLU(),
        nn.Conv2d(6, 6, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 25, 3),
    )
    net[5].requires_grad_(False)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


EXAMPLE = torch.zeros(2, 2, 6, 6)
BATCHES = noise(12, 2, 6, 6)


def made(name: str, settings: str, net: nn.Module) -> Guarding:
    row = GUARD_VARIANTS[name]
    return guarding(row.make(**getattr(row, settings)), net, EXAMPLE)


def test_every_guard_has_its_row() -> None:
    kinds = {
        name
        for name in regrow.guard.__all__
        if isinstance(found := getattr(regrow.guard, name), type)
        and Guard in found.__mro__
        and found is not Guard
    }
    assert kinds == set(GUARDS)


def test_a_guard_that_says_nothing_does_nothing() -> None:
    class Silent(Guard):
        pass

    plain, guarded = network(), network()
    drive(plain, OPTIMIZERS["sgd"](plain), BATCHES)
    drive(guarded, OPTIMIZERS["sgd"](guarded), BATCHES, guarding(Silent(), guarded, EXAMPLE))
    assert same_bits(bits(plain), bits(guarded))


@pytest.mark.parametrize(("name", "optimizer"), crossed(GUARD_VARIANTS, OPTIMIZERS))
class TestEveryGuard:
    def test_bit_equal_while_it_has_nothing_to_do(self, name: str, optimizer: str) -> None:
        plain, guarded = network(), network()
        guard = made(name, "idle", guarded)
        random = torch.get_rng_state()
        for net, own in ((plain, None), (guarded, guard)):
            drive(net, OPTIMIZERS[optimizer](net), BATCHES, own)
        assert guard.state_dict() == {"hits": {}, "refused": 0}
        assert same_bits(bits(plain), bits(guarded))
        assert torch.equal(random, torch.get_rng_state())

    def test_what_it_writes_and_what_not(self, name: str, optimizer: str) -> None:
        net = network()
        before, identity = bits(net), {k: id(v) for k, v in net.named_parameters()}
        guard = made(name, "acts", net)
        drive(net, OPTIMIZERS[optimizer](net), BATCHES, guard)
        assert guard.hits
        after = bits(net)
        assert {k: id(v) for k, v in net.named_parameters()} == identity
        assert all(torch.equal(before[k], after[k]) for k in ("5.weight", "5.bias"))
        assert not {"5"} & set(guard.hits)
        assert all(value.isfinite().all() for value in after.values())

    def test_interrupted_and_resumed_is_uninterrupted(self, name: str, optimizer: str) -> None:
        whole = network()
        own = made(name, "acts", whole)
        drive(whole, OPTIMIZERS[optimizer](whole), BATCHES, own)
        first = network()
        guard, stepper = made(name, "acts", first), OPTIMIZERS[optimizer](first)
        drive(first, stepper, BATCHES[:7], guard)
        file = io.BytesIO()
        torch.save([first.state_dict(), stepper.state_dict(), guard.state_dict()], file)
        file.seek(0)
        states = torch.load(file, weights_only=True)
        second = network()
        later = made(name, "acts", second)
        resumed = OPTIMIZERS[optimizer](second)
        second.load_state_dict(states[0])
        resumed.load_state_dict(states[1])
        later.load_state_dict(states[2])
        drive(second, resumed, BATCHES[7:], later)
        assert same_bits(bits(whole), bits(second))
        assert later.state_dict() == own.state_dict()

    def test_a_poisoned_gradient(self, name: str, optimizer: str) -> None:
        net = network()
        guard, stepper = made(name, "acts", net), OPTIMIZERS[optimizer](net)
        drive(net, stepper, BATCHES[:3], guard)
        before = bits(net)
        memory = copy.deepcopy(stepper.state_dict()["state"])

        def spoil(step: int) -> None:
            del step
            grad = net[8].weight.grad
            assert isinstance(grad, Tensor)
            grad[0, 0] = math.nan

        row = GUARD_VARIANTS[name]
        assert drive(net, stepper, BATCHES[3:4], guard, spoil=spoil) == [not row.refuses]
        assert guard.refused == row.refuses
        if row.refuses:
            weights = [k for k, _ in net.named_parameters()]
            assert all(torch.equal(before[k], bits(net)[k]) for k in weights)
            assert str(memory) == str(stepper.state_dict()["state"])


@pytest.mark.parametrize("name", GUARD_VARIANTS)
def test_odd_tensors(name: str) -> None:
    """Half precision, a sparse gradient, an empty parameter, and one that is not the model's."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(9, 4, sparse=True)
            self.layer = nn.Linear(4, 3).bfloat16()
            self.nothing = nn.Parameter(torch.zeros(0, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.words(x).mean(1).bfloat16()).float() + self.nothing.sum()

    torch.manual_seed(0)
    net = Odd()
    row = GUARD_VARIANTS[name]
    guard = guarding(row.make(**row.acts), net, torch.zeros(2, 5, dtype=torch.int64))
    temperature = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([*net.parameters(), temperature], lr=1.0)
    for _ in range(4):
        optimizer.zero_grad()
        (temperature * net(torch.randint(0, 9, (6, 5)))).square().sum().backward()
        assert guard.before_step_(optimizer)
        optimizer.step()
        guard.after_step_(optimizer)
    assert all(each.isfinite().all() for each in (*net.parameters(), temperature))
    assert guard.hits


@pytest.mark.parametrize("name", GUARDS)
def test_wrong_settings_are_refused(name: str) -> None:
    for wrong in GUARDS[name].wrong:
        with pytest.raises(wrong.error, match=wrong.match):
            GUARDS[name].make(**wrong.settings)


@pytest.mark.parametrize(("name", "settings"), crossed(GUARD_VARIANTS, ["acts", "idle"]))
def test_the_way_that_waits_for_no_device_is_the_same_training(
    name: str, settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator nothing is read to decide: what is within the limit must keep its bits all the same."""
    trained = []
    for waits in (True, False):
        monkeypatch.setattr(StepParameters, "on_cpu", property(lambda moved, waits=waits: waits))
        net = network()
        guard = made(name, settings, net)
        drive(net, OPTIMIZERS["sgd"](net), BATCHES, guard)
        trained.append((bits(net), guard.hits))
    assert same_bits(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]
    assert bool(trained[0][1]) == (settings == "acts")
