"""What becomes of the optimizers' memory: kept, grafted with the same shares (float64 oracle), or fresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from crossed import crossed, seldom
from partners import oracle
from partners.nets import TABLES, Plain, attach, batch, copies, random, step_of, train

Make = Callable[[nn.Module], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Make] = {
    "sgd momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9),
    "sgd fused": lambda m: torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9, fused=True),
    "adam": lambda m: torch.optim.Adam(m.parameters(), lr=0.01, amsgrad=True),
    "adam foreach": lambda m: torch.optim.Adam(m.parameters(), lr=0.01, foreach=True),
    "adam fused": lambda m: torch.optim.Adam(m.parameters(), lr=0.01, fused=True),
    "adagrad": lambda m: torch.optim.Adagrad(m.parameters(), initial_accumulator_value=0.1),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=0.01, momentum=0.5),
    "nadam": lambda m: torch.optim.NAdam(m.parameters(), lr=0.01),
}

ROWS = seldom(OPTIMIZERS, often=("sgd momentum", "adam", "nadam"))


def _memory(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[tuple[str, str], Any]:
    return {
        (name, key): value.clone() if isinstance(value, torch.Tensor) else value
        for name, tensor in model.named_parameters()
        for key, value in optimizer.state.get(tensor, {}).items()
    }


def _trained(make: Make, networks: int = 2) -> tuple[list[nn.Module], list[torch.optim.Optimizer]]:
    models = [random(Plain, seed) for seed in range(networks)]
    optimizers = [make(model) for model in models]
    train(models, optimizers, 3)
    return models, optimizers


@pytest.mark.parametrize("name", ROWS)
def test_kept_memory_keeps_its_bits(name: str) -> None:
    models, optimizers = _trained(OPTIMIZERS[name])
    before = [_memory(*pair) for pair in zip(models, optimizers, strict=True)]
    attach(models, optimizers, memory="keep").graft()
    for pair, old in zip(zip(models, optimizers, strict=True), before, strict=True):
        for key, value in _memory(*pair).items():
            assert value is None or torch.equal(torch.as_tensor(value), torch.as_tensor(old[key]))
    train(models, optimizers, 1, start=3)


@pytest.mark.parametrize(("name", "networks"), crossed(ROWS, [2, 3]))
def test_grafted_memory_takes_the_shares_of_its_tensors(name: str, networks: int) -> None:
    models, optimizers = _trained(OPTIMIZERS[name], networks)
    states = [oracle.values(copies(model)) for model in models]
    before = [_memory(*pair) for pair in zip(models, optimizers, strict=True)]
    attach(models, optimizers, memory="graft", sharpness=3.0).graft()
    mixed = 0
    for k, pair in enumerate(zip(models, optimizers, strict=True)):
        shares = {
            weight: oracle.alpha(
                oracle.entropy(states[k][weight]),
                oracle.entropy(states[k - 1][weight]),
                sharpness=3.0,
            )
            for weight in ("conv1.weight", "conv2.weight", "head.weight")
        }
        for (tensor, key), value in _memory(*pair).items():
            old, partner = before[k][tensor, key], before[k - 1][tensor, key]
            if not isinstance(value, torch.Tensor) or value.ndim == 0:  # a step count is no entry's
                assert value is None or float(value) == float(old)
                continue
            share = shares[TABLES[Plain][tensor][0]]
            rows = [each.double().reshape(-1).tolist() for each in (old, partner)]
            expected = oracle.mix(*rows, share)
            assert value.double().reshape(-1).tolist() == pytest.approx(expected, abs=1e-12)
            mixed += not torch.equal(value, old)
    assert mixed
    train(models, optimizers, 1, start=3)


@pytest.mark.parametrize("name", ROWS)
def test_fresh_memory_steps_as_a_fresh_optimizer_does(name: str) -> None:
    models, optimizers = _trained(OPTIMIZERS[name])
    attach(models, optimizers, memory="reset").graft()
    twin = random(Plain, 9)
    twin.load_state_dict(models[0].state_dict())
    fresh = OPTIMIZERS[name](twin)
    for step in range(3, 6):
        step_of(models[0], optimizers[0], step)
        step_of(twin, fresh, step)
    found, expected = models[0].state_dict(), twin.state_dict()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []


def test_an_optimizer_that_makes_its_memory_at_once_has_it_again() -> None:
    """Older versions of torch do not look for it at the first step."""
    models, optimizers = _trained(OPTIMIZERS["adagrad"])
    attach(models, optimizers, memory="reset").graft()
    for memory in optimizers[0].state.values():
        assert float(memory["step"]) == 0.0
        assert (memory["sum"] == 0.1).all()
    assert len(optimizers[0].state) == len(list(models[0].parameters()))


def test_layers_that_do_not_match_keep_their_memory() -> None:
    class Wider(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, :3]

    models: list[nn.Module] = [random(Plain, 0), random(Wider, 1)]
    optimizers = [OPTIMIZERS["sgd momentum"](model) for model in models]
    train(models, optimizers, 2)
    attach(models, optimizers, memory="reset").graft()
    for model, optimizer in zip(models, optimizers, strict=True):
        assert model.get_parameter("head.weight") in optimizer.state
        assert model.get_parameter("conv1.weight") not in optimizer.state


def test_partners_with_different_optimizers_graft_what_both_remember() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    optimizers = [OPTIMIZERS["sgd momentum"](models[0]), OPTIMIZERS["adam"](models[1])]
    train(models, optimizers, 2)
    before = [_memory(*pair) for pair in zip(models, optimizers, strict=True)]
    attach(models, optimizers, memory="graft").graft()
    for pair, old in zip(zip(models, optimizers, strict=True), before, strict=True):
        for key, value in _memory(*pair).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(old[key]))


def test_nothing_is_remembered_before_the_first_step() -> None:
    models = [random(Plain, seed) for seed in range(2)]
    optimizers = [OPTIMIZERS["adam"](model) for model in models]
    attach(models, optimizers, memory="graft").graft()
    assert not any(optimizer.state for optimizer in optimizers)
    assert batch(0)[0].shape == (6, 1, 8, 8)


@pytest.mark.parametrize("memory", ["keep", "graft", "reset"])
def test_slow_weights_do_not_take_the_graft_back(memory: str) -> None:
    """timm's Lookahead with a rate of 0: nothing else could move what was grafted."""
    pytest.importorskip("timm", reason="timm is not installed")
    from timm.optim import Lookahead

    models = [random(Plain, seed) for seed in range(2)]
    optimizers = [
        Lookahead(torch.optim.SGD(m.parameters(), lr=0.0), alpha=0.5, k=2) for m in models
    ]
    train(models, optimizers, 3)
    before = [copies(model) for model in models]
    attach(models, optimizers, memory=memory).graft()
    grafted = [dict(model.named_parameters()) for model in models]
    wanted = [{name: each.detach().clone() for name, each in one.items()} for one in grafted]
    assert any(not torch.equal(wanted[0][name], before[0][name]) for name in wanted[0])
    train(models, optimizers, 4, start=3)
    for found, those in zip(grafted, wanted, strict=True):
        for name, value in those.items():
            torch.testing.assert_close(found[name].detach(), value, rtol=1e-14, atol=1e-14)
