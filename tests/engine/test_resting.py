"""A network whose gradients are taken away makes no step; the others make theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossed import crossed
from engine.nets import Crater, batch, copies, several
from regrow.engine import SGD, Adam, AdamW, Stack, StackOptimizer

Make = Callable[[Stack], StackOptimizer]
MAKES: dict[str, Make] = {
    "plain": lambda stack: SGD(stack, lr=0.05),
    "nesterov": lambda stack: SGD(stack, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda stack: Adam(stack, lr=0.01),
    "adamw": lambda stack: AdamW(stack, lr=0.01, weight_decay=0.1),
}
STEPS = 4


def bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Everything that a step writes."""
    kept = [each for state in optimizer.state.values() for each in state.values()]
    return [each.detach().clone() for each in (*model.parameters(), *kept)]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("name", "batched"), crossed(MAKES, [False, True]))
@pytest.mark.parametrize("rests_at", [0, 2])
def test_a_network_without_gradients_rests(name: str, batched: bool, rests_at: int) -> None:
    """The middle one of three, with gradients in the memory that would spoil whatever reads them."""
    models = several(Crater, 3, dtype=torch.float64)
    others = copies(models)
    optimizer = MAKES[name](Stack(models, batched=batched))
    beside = MAKES[name](Stack(others, batched=batched))
    for step in range(STEPS):
        images, labels = batch(3, 8, 1, 8, 8, seed=step)
        optimizer.stack.gradients(images, labels)
        beside.stack.gradients(images, labels)
        weights = [each.detach().clone() for each in models[1].parameters()]
        kept = bits(models[1], optimizer.optimizers[1])
        if step == rests_at:
            optimizer.stack.memory.gradients.flat[1] = torch.nan
            models[1].zero_grad()
        optimizer.step()
        beside.step()
        assert same(weights, list(models[1].parameters())) == (step == rests_at)
        if step:  # before the first step nothing is remembered
            assert same(kept, bits(models[1], optimizer.optimizers[1])) == (step == rests_at)
    for at in (0, 2):
        mine, theirs = optimizer.optimizers[at], beside.optimizers[at]
        assert same(bits(models[at], mine), bits(others[at], theirs))
    assert not same(list(models[1].parameters()), list(others[1].parameters()))


@pytest.mark.parametrize("name", MAKES)
def test_a_rest_is_that_of_torchs_own_optimizer(name: str) -> None:
    """Whose `step` passes a parameter without a gradient by, and counts no step for it."""
    models = several(Crater, 2, dtype=torch.float64)
    plain = copies(models)[0]
    optimizer = MAKES[name](Stack(models))
    own = optimizer.optimizers[0]
    options = {key: value for key, value in own.param_groups[0].items() if key != "params"}
    kind: Any = type(own)
    other = kind(plain.parameters(), lr=own.param_groups[0]["lr"])
    other.param_groups[0].update(options)
    for step in range(STEPS):
        images, labels = batch(2, 8, 1, 8, 8, seed=step)
        optimizer.stack.gradients(images, labels)
        other.zero_grad()
        nn.functional.cross_entropy(plain(images[0]), labels[0]).backward()
        if step in {0, 2}:
            models[0].zero_grad()
            other.zero_grad()
        optimizer.step()
        other.step()
    for mine, theirs in zip(models[0].parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)
        for key, value in other.state[theirs].items():
            if value is not None:
                torch.testing.assert_close(own.state[mine][key], value, rtol=1e-10, atol=1e-12)
