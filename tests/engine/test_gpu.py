"""On a CUDA device: one call for all networks, the CPU's numbers within rounding, and no waiting in a step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from engine.nets import Build, Crater, batch, copies, everything, several, streamed
from regrow.engine import SGD, Adam, AdamW, Stack, StackOptimizer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]

RATES = [0.05, 0.02, 0.01]
STEPS = 6

MAKES: dict[str, Callable[[Stack], StackOptimizer]] = {
    "sgd": lambda stack: SGD(stack, lr=RATES),
    "folded": lambda stack: SGD(stack, lr=RATES, folded=stack.program.dense),
    "nesterov decay": lambda stack: SGD(
        stack, lr=RATES, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "adam": lambda stack: Adam(stack, lr=[rate / 10 for rate in RATES], weight_decay=0.1),
    "adamw": lambda stack: AdamW(stack, lr=[rate / 10 for rate in RATES], weight_decay=0.1),
}


def averaging() -> nn.Module:
    """Running statistics that are plain means over all batches."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4, momentum=None),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 3),
    )


def data(step: int, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return batch(3, 48, 1, 8, 8, seed=step, dtype=dtype)


@contextmanager
def no_waiting() -> Generator[None]:
    """Any wait for the device inside is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("build", [Crater, everything, averaging, streamed])
@pytest.mark.parametrize("name", MAKES)
def test_it_is_the_cpus_training(name: str, build: Build) -> None:
    """In float64: the order of sums is all that differs."""
    models = several(build, 3, dtype=torch.float64)
    there = [model.cuda() for model in copies(models)]
    mine, theirs = MAKES[name](Stack(models)), MAKES[name](Stack(there))
    assert theirs.stack.batched
    for step in range(STEPS):
        images, labels = data(step, dtype=torch.float64)
        losses, right = mine.train(images, labels)
        found, hits = theirs.train(images.cuda(), labels.cuda())
        torch.testing.assert_close(found.cpu(), losses, rtol=1e-8, atol=1e-10)
        assert torch.equal(hits.cpu(), right)
    for model, other in zip(models, there, strict=True):
        for key, value in other.state_dict().items():
            torch.testing.assert_close(value.cpu(), model.state_dict()[key], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("build", [Crater, everything, averaging, streamed])
@pytest.mark.parametrize("name", MAKES)
def test_no_step_waits_for_the_device(name: str, build: Build) -> None:
    stack = Stack([model.cuda() for model in several(build, 3, dtype=torch.float32)])
    optimizer = MAKES[name](stack)
    images, labels = (each.cuda() for each in data(0, dtype=torch.float32))
    optimizer.train(images, labels)  # the first one makes the plan
    with no_waiting():
        for _ in range(3):
            losses, right = optimizer.train(images, labels)
    assert bool(losses.isfinite().all())
    assert losses.shape == right.shape == (3,)


def test_logits_on_the_device() -> None:
    models = several(everything, 3, dtype=torch.float64)
    there = Stack([model.cuda() for model in copies(models)])
    images, _ = data(0, dtype=torch.float64)
    torch.testing.assert_close(
        there.logits(images.cuda()).cpu(), Stack(models).logits(images), rtol=1e-8, atol=1e-10
    )
