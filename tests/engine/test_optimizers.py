"""Each network's torch optimizer holds its options and, as views, what it remembers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from engine.nets import Crater, batch, copies, several
from regrow.engine import SGD, Adam, Stack, StackOptimizer
from regrow.renewal import Edit
from regrow.surgery import OptimizerSurgeon


def made(kind: str, stack: Stack) -> StackOptimizer:
    if kind == "sgd":
        return SGD(stack, lr=0.05, momentum=0.9)
    return Adam(stack, lr=0.01)


def data(step: int) -> tuple[Tensor, Tensor]:
    return batch(2, 8, 1, 8, 8, seed=step)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_saved_and_loaded_is_uninterrupted(kind: str, batched: bool) -> None:
    models = several(Crater, 2, dtype=torch.float64)
    stack = Stack(models, batched=batched)
    optimizer = made(kind, stack)
    for step in range(3):
        optimizer.train(*data(step))
    saved = copy.deepcopy([one.state_dict() for one in optimizer.optimizers])
    others = copies(models)
    for step in range(3, 6):
        optimizer.train(*data(step))
    again = made(kind, Stack(others, batched=batched))
    for one, state in zip(again.optimizers, saved, strict=True):
        one.load_state_dict(state)
    for step in range(3, 6):
        again.train(*data(step))
    for model, other in zip(models, others, strict=True):
        for key, value in model.state_dict().items():
            assert torch.equal(other.state_dict()[key], value)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_torchs_own_step_goes_on_where_the_stacks_ended(kind: str) -> None:
    models = several(Crater, 2, dtype=torch.float64)
    others = copies(models)
    stack, beside = Stack(models), Stack(others)
    mine, theirs = made(kind, stack), made(kind, beside)
    for step in range(4):
        mine.train(*data(step))
        beside.gradients(*data(step))
        if step < 2:
            theirs.step()
        else:
            for one in theirs.optimizers:
                one.step()
    for model, other in zip(models, others, strict=True):
        for key, value in model.state_dict().items():
            torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-10, atol=1e-12)


def test_a_learning_rate_is_read_at_every_step() -> None:
    models = several(Crater, 2, dtype=torch.float64)
    optimizer = SGD(Stack(models), lr=[0.1, 0.2])
    assert optimizer.rates == (0.1, 0.2)
    optimizer.optimizers[0].param_groups[0]["lr"] = 0.0
    before = copies(models)
    optimizer.train(*data(0))
    assert torch.equal(
        models[0].get_parameter("head.weight"), before[0].get_parameter("head.weight")
    )
    assert not torch.equal(
        models[1].get_parameter("head.weight"), before[1].get_parameter("head.weight")
    )


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_surgery_edits_what_the_stack_remembers(kind: str) -> None:
    models = several(Crater, 2, dtype=torch.float64)
    stack = Stack(models)
    optimizer = made(kind, stack)
    optimizer.train(*data(0))
    parameters = dict(models[0].named_parameters())
    surgeon = OptimizerSurgeon(optimizer.optimizers[0], parameters)
    mask = torch.zeros(5, 1, 1, 1, dtype=torch.bool)
    mask[2] = True
    surgeon.reset([Edit(name="conv1.weight", mask=mask, value=0.0, is_parameter=True)])
    key = "momentum_buffer" if kind == "sgd" else "exp_avg"
    state = optimizer.optimizers[0].state[parameters["conv1.weight"]][key]
    assert bool((state[2] == 0).all())
    assert bool((state[1] != 0).all())
    # The same network trained by torch's own optimizer from the edited state makes the same step.
    other = copies(models)[0]
    plain = type(optimizer.optimizers[0])(other.parameters(), lr=optimizer.rates[0])
    plain.load_state_dict(copy.deepcopy(optimizer.optimizers[0].state_dict()))
    images, labels = data(1)
    optimizer.train(images, labels)
    torch.nn.functional.cross_entropy(other(images[0]), labels[0]).backward()
    plain.step()
    for name, value in other.state_dict().items():
        torch.testing.assert_close(parameters[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batched", [False, True])
def test_a_tensor_that_was_renewed_as_a_whole_counts_its_own_steps(batched: bool) -> None:
    """As torch's own optimizer does, which has a count for each tensor; the other network is as it was."""
    models = several(Crater, 2, dtype=torch.float64)
    stack = Stack(models, batched=batched)
    optimizer = made("adam", stack)
    for step in range(3):
        optimizer.train(*data(step))
    parameters = dict(models[0].named_parameters())
    surgeon = OptimizerSurgeon(optimizer.optimizers[0], parameters)
    whole = torch.ones(5, 1, 1, 1, dtype=torch.bool)
    surgeon.reset([Edit(name="conv1.weight", mask=whole, value=0.0)])
    others = copies(models)
    plain = [
        type(one)(other.parameters(), lr=rate)
        for one, other, rate in zip(optimizer.optimizers, others, optimizer.rates, strict=True)
    ]
    for mine, theirs in zip(optimizer.optimizers, plain, strict=True):
        theirs.load_state_dict(copy.deepcopy(mine.state_dict()))
    for step in range(3, 6):
        images, labels = data(step)
        optimizer.train(images, labels)
        for number, (other, theirs) in enumerate(zip(others, plain, strict=True)):
            theirs.zero_grad()
            torch.nn.functional.cross_entropy(other(images[number]), labels[number]).backward()
            theirs.step()
    counts = {float(one["step"]) for one in optimizer.optimizers[0].state.values()}
    assert counts == {3.0, 6.0}
    for model, other in zip(models, others, strict=True):
        for name, value in other.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-10, atol=1e-12)


def test_plain_sgd_remembers_nothing() -> None:
    models = several(Crater, 1, dtype=torch.float64)
    optimizer = SGD(Stack(models), lr=0.1)
    optimizer.train(*(each[:1] for each in data(0)))
    states = optimizer.optimizers[0].state_dict()["state"]
    assert all(not any(value is not None for value in state.values()) for state in states.values())
