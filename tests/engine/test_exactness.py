"""A stack trains as plain modules do; a network has the same bits alone and beside any others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crossed import crossed, pairs
from engine.nets import Build, Crater, batch, copies, everything, several, streamed
from regrow.engine import SGD, Adam, AdamW, Stack, StackOptimizer, tiles

STEPS = 20
RATES = [0.05, 0.1, 0.02]

# Ours, torch's, options, and what the learning rates are multiplied by.
OPTIMIZERS: dict[str, tuple[Callable[..., StackOptimizer], Any, dict[str, Any], float]] = {
    "sgd": (SGD, torch.optim.SGD, {}, 1.0),
    "decay": (SGD, torch.optim.SGD, {"weight_decay": 0.01}, 1.0),
    "momentum": (SGD, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}, 0.3),
    "nesterov": (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, 0.3),
    "nesterov decay": (
        SGD,
        torch.optim.SGD,
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
        0.3,
    ),
    "adam": (Adam, torch.optim.Adam, {}, 0.1),
    "adam decay": (
        Adam,
        torch.optim.Adam,
        {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6},
        0.1,
    ),
    "adamw": (AdamW, torch.optim.AdamW, {"weight_decay": 0.1}, 0.1),
}


def batches(count: int, samples: int, *, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """A batch of its own for each of three networks, for each step."""
    return [batch(count, samples, 1, 8, 8, seed=step, dtype=dtype) for step in range(STEPS)]


def train_plain(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: list[tuple[Tensor, Tensor]], at: int
) -> list[Tensor]:
    losses: list[Tensor] = []
    for images, labels in data:
        loss = F.cross_entropy(model(images[at]), labels[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize(
    ("name", "build", "batched"),
    crossed(OPTIMIZERS, pairs([Crater, everything, streamed], [False, True])),
)
def test_twenty_steps_are_those_of_plain_modules(name: str, build: Build, batched: bool) -> None:
    mine, torchs, options, scale = OPTIMIZERS[name]
    models = several(build, 3, dtype=torch.float64)
    plain = copies(models)
    rates = [rate * scale for rate in RATES]
    optimizer = mine(Stack(models, batched=batched), lr=rates, **options)
    data = batches(3, 7, dtype=torch.float64)
    found = torch.stack([optimizer.train(images, labels)[0] for images, labels in data], 1)
    for number, model in enumerate(plain):
        other = torchs(model.parameters(), lr=rates[number], **options)
        losses = train_plain(model, other, data, number)
        torch.testing.assert_close(found[number], torch.stack(losses), rtol=1e-10, atol=1e-12)
        for key, value in model.state_dict().items():
            ours = models[number].state_dict()[key]
            torch.testing.assert_close(ours, value, rtol=1e-10, atol=1e-12)
        ours, theirs = optimizer.optimizers[number].state_dict(), other.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        for index, state in theirs["state"].items():
            for key, value in state.items():
                if value is not None:
                    kept = ours["state"][index][key]
                    torch.testing.assert_close(kept, value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batched", [False, True])
def test_a_folded_step_is_the_same_step(batched: bool) -> None:
    models = several(Crater, 3, dtype=torch.float64)
    plain = copies(models)
    stack = Stack(models, batched=batched)
    optimizer = SGD(stack, lr=RATES, folded=stack.program.dense)
    data = batches(3, 7, dtype=torch.float64)
    for images, labels in data:
        optimizer.train(images, labels)
    for number, model in enumerate(plain):
        train_plain(model, torch.optim.SGD(model.parameters(), lr=RATES[number]), data, number)
        for key, value in model.state_dict().items():
            ours = models[number].state_dict()[key]
            torch.testing.assert_close(ours, value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("build", [Crater, everything, streamed])
def test_float32_stays_near_float64(build: Build) -> None:
    """20 steps at these sizes: losses within 2e-5 of float64, as eager float32 is."""
    models = several(build, 3, dtype=torch.float32)
    plain = copies(models, dtype=torch.float64)
    optimizer = SGD(Stack(models), lr=RATES)
    data = batches(3, 16, dtype=torch.float32)
    found = torch.stack([optimizer.train(images, labels)[0] for images, labels in data], 1)
    exact = [(images.double(), labels) for images, labels in data]
    for number, model in enumerate(plain):
        losses = train_plain(
            model, torch.optim.SGD(model.parameters(), lr=RATES[number]), exact, number
        )
        torch.testing.assert_close(found[number].double(), torch.stack(losses), rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    ("build", "name", "samples", "room"),
    crossed(
        [
            pytest.param(Crater, "sgd"),
            pytest.param(Crater, "folded"),
            pytest.param(everything, "adam"),
            pytest.param(streamed, "folded"),
        ],
        [
            pytest.param(samples, room)
            for samples, room in [
                (1, tiles.ROOM),
                (7, tiles.ROOM),
                (32, 1),
                (64, 1),
                (64, tiles.ROOM),
            ]
        ],
    ),
)
def test_neighbours_change_no_bit(
    build: Build, name: str, samples: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of 1, 2 and 5, other neighbours, another place in the chunk; batches whole and in two tiles."""
    monkeypatch.setattr(tiles, "ROOM", room)
    images, labels = batch(5, samples, 1, 8, 8, dtype=torch.float32)
    data = [(images + step, labels) for step in range(3)]

    def trained(members: list[int]) -> dict[int, dict[str, Tensor]]:
        everybody = several(build, 5, dtype=torch.float32)
        models = [everybody[member] for member in members]
        stack = Stack(models)
        rates = [0.01 * (member + 1) for member in members]
        if name == "adam":
            optimizer: StackOptimizer = Adam(stack, lr=rates)
        else:
            folded = stack.program.dense if name == "folded" else ()
            optimizer = SGD(stack, lr=rates, folded=folded)
        told = [optimizer.train(x[members], y[members]) for x, y in data]
        scores = stack.logits(images[members])
        return {
            member: {
                **model.state_dict(),
                "loss": torch.stack([losses[at] for losses, _ in told]),
                "right": torch.stack([right[at] for _, right in told]),
                "logits": scores[at].clone(),
            }
            for at, (member, model) in enumerate(zip(members, models, strict=True))
        }

    together = trained([0, 1, 2, 3, 4])
    for members in ([0], [1], [4], [2, 3], [3, 1], [4, 2, 0]):
        for member, tensors in trained(members).items():
            for key, value in tensors.items():
                assert torch.equal(value, together[member][key]), (members, member, key)


def test_shared_images_are_the_same_as_copies_of_them() -> None:
    images, labels = batch(64, 1, 8, 8, dtype=torch.float32)
    one, other = (Stack(several(everything, 3, dtype=torch.float32)) for _ in range(2))
    losses, right = one.gradients(images, labels)
    wide = other.gradients(images.expand(3, -1, -1, -1, -1), labels.expand(3, -1))
    assert torch.equal(losses, wide[0])
    assert torch.equal(right, wide[1])
    assert torch.equal(one.memory.gradients.flat, other.memory.gradients.flat)


def test_one_networks_infinity_stays_its_own() -> None:
    models = several(Crater, 2, dtype=torch.float32)
    alone = copies(models)
    with torch.no_grad():
        next(models[0].parameters()).fill_(torch.nan)
    images, labels = batch(2, 32, 1, 8, 8, dtype=torch.float32)
    optimizer = SGD(Stack(models), lr=0.1)
    losses, right = optimizer.train(images, labels)
    assert bool(losses[0].isnan())
    assert int(right[0]) == 0  # an answer that is no number is wrong
    SGD(Stack(alone[1:]), lr=0.1).train(images[1:], labels[1:])
    for key, value in alone[1].state_dict().items():
        assert torch.equal(models[1].state_dict()[key], value)


def numbers_net() -> nn.Module:
    """A network of one number, as bit flipping has it."""
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 5), nn.ReLU(), nn.Linear(5, 1))


@pytest.mark.parametrize(
    ("name", "batched", "samples"), crossed(["sgd", "momentum", "adam"], [False, True], [1, 4])
)
def test_a_number_is_learnt_as_plain_modules_learn_it(
    name: str, batched: bool, samples: int
) -> None:
    ours, theirs, settings, factor = OPTIMIZERS[name]
    models = several(numbers_net, 3, dtype=torch.float64)
    plain = copies(models)
    rates = [factor * rate for rate in RATES]
    stack = Stack(models, batched=batched, loss="squared")
    optimizer = ours(stack, lr=rates, **settings)
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(2, (STEPS, 3, samples, 1, 1, 20), generator=generator).double()
    targets = bits.sum((3, 4, 5)) / 10 - 1
    found = [optimizer.train(*pair)[0] for pair in zip(bits, targets, strict=True)]
    for at, (model, other) in enumerate(zip(models, plain, strict=True)):
        steps = theirs(other.parameters(), lr=rates[at], **settings)
        for step in range(STEPS):
            loss = F.mse_loss(other(bits[step, at]).squeeze(1), targets[step, at])
            steps.zero_grad()
            loss.backward()
            steps.step()
            torch.testing.assert_close(found[step][at], loss.detach(), rtol=1e-9, atol=1e-11)
        for mine, its in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-11)
