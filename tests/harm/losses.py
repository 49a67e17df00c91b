"""Losses that ask for nothing in a step, batches that hold next to nothing, and penalties that hide the dead."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from harm.parts import CLASSES, EXAMPLES, PLAIN_PLACES, SIZE, blobs, cnn, dice, digits, mlp, vectors
from harm.registry import Data, Kill, Situation, Turn, adam, adamw, situation

WIDTH = 12


def _margin(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    functional.multi_margin_loss(turn.model(turn.x), turn.y).backward()


@cache
def _solved() -> dict[str, Tensor]:
    """A network that has every margin already."""
    model, (x, y) = mlp(SIZE, WIDTH, WIDTH, CLASSES), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        functional.multi_margin_loss(model(x), y, margin=3.0).backward()
        optimizer.step()
    return model.state_dict()


def _solved_model() -> nn.Module:
    model = mlp(SIZE, WIDTH, WIDTH, CLASSES)
    model.load_state_dict(_solved())
    return model


@situation
def margin_satisfied() -> Situation:
    """A margin loss that every example satisfies: no gradient for anybody."""
    return Situation(
        build=_solved_model,
        data=blobs,
        places=PLAIN_PLACES,
        turn=_margin,
        kills=(Kill(layer="2", unit=2, step=5),),
    )


def _hinge(turn: Turn) -> None:
    """One against the rest, with a margin of 1, for the class 0."""
    turn.optimizer.zero_grad()
    scores = turn.model(turn.x)
    side = torch.where(turn.y == 0, 1.0, -1.0)
    functional.relu(1 - side * (scores[:, 0] - scores[:, 1:].amax(1))).mean().backward()


@situation
def hinge_satisfied() -> Situation:
    """A hinge loss that becomes 0 while it trains."""
    return Situation(
        build=partial(mlp, SIZE, WIDTH, WIDTH, CLASSES),
        data=blobs,
        places=PLAIN_PLACES,
        turn=_hinge,
        optimizer=adam,
        batch=64,
        kills=(Kill(layer="0", unit=7, step=40),),
        steps=64,
    )


@cache
def _triples() -> Data:
    """(N, 3, SIZE): an anchor, one of its class, one of another."""
    x, y = blobs()
    generator = dice(3)
    order = torch.randperm(EXAMPLES, generator=generator)
    same = torch.stack([order[y[order] == label][0] for label in y.tolist()])
    other = torch.stack([order[y[order] != label][n % 9] for n, label in enumerate(y.tolist())])
    return torch.stack((x, x[same], x[other]), 1), y


class _Embedded(nn.Module):
    """The same network for the three of a triple."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(SIZE, WIDTH, WIDTH, 6)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, SIZE) to (N, 3, 6)."""
        return torch.stack([self.net(each) for each in x.unbind(1)], 1)


def _triplet(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    functional.triplet_margin_loss(*turn.model(turn.x).unbind(1), margin=0.2).backward()


@situation
def triplet_satisfied() -> Situation:
    """A triplet loss, one network for all three, satisfied by most batches."""
    return Situation(
        build=_Embedded,
        data=_triples,
        places={"net.0": "net.1", "net.2": "net.3"},
        turn=_triplet,
        optimizer=adamw,
        kills=(Kill(layer="net.2", unit=10, step=20),),
    )


def _weighted(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    weight = 0.0 if turn.step < 12 or turn.step % 3 == 0 else 1.0
    (weight * functional.cross_entropy(turn.model(turn.x), turn.y)).backward()


@situation
def loss_weighted_by_zero() -> Situation:
    """The loss has weight 0 in the first steps, and in every third one."""
    return Situation(
        build=cnn,
        data=digits,
        places=PLAIN_PLACES,
        turn=_weighted,
        kills=(Kill(layer="0", unit=2), Kill(layer="2", unit=5, step=18)),
    )


def _sometimes_empty(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    count = 0 if turn.step % 4 == 0 else len(turn.x)
    answers = turn.model(turn.x[:count])
    (functional.cross_entropy(answers, turn.y[:count], reduction="sum") / max(count, 1)).backward()


@situation
def empty_batch() -> Situation:
    """Every fourth batch is empty."""
    return Situation(
        build=partial(mlp, SIZE, WIDTH, WIDTH, CLASSES),
        data=vectors,
        places=PLAIN_PLACES,
        turn=_sometimes_empty,
        batch=64,
        kills=(Kill(layer="0", unit=1, step=2),),
    )


@situation
def one_unit_batch_of_one() -> Situation:
    """A layer of a single ReLU unit, one example a step: it is silent for about half of them."""
    return Situation(
        build=partial(mlp, SIZE, 1, CLASSES),
        data=vectors,
        places={"0": "1"},
        optimizer=partial(SGD, lr=0.01),
        batch=1,
        steps=310,
    )


@cache
def _transitions() -> Data:
    """(N, 2, SIZE): what is seen before and after, and the rewards."""
    x = torch.randn(EXAMPLES, 2, SIZE, generator=dice(5))
    return x, x[:, 1, :3].sum(1).tanh()


class _Values(nn.Module):
    """Values of the actions."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(SIZE, WIDTH, WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, SIZE): of what is seen before."""
        return self.net(x[:, 0])


def _td(turn: Turn) -> None:
    """Acting and the target without gradients, the update on one transition."""
    net = turn.model.net
    with torch.no_grad():
        action = net(turn.x[:, 0]).argmax(1, keepdim=True)
        target = turn.y + 0.9 * net(turn.x[:, 1]).amax(1)
    turn.optimizer.zero_grad()
    chosen = turn.model(turn.x).gather(1, action)[:, 0]
    functional.smooth_l1_loss(chosen, target).backward()


@situation
def reinforcement_batch_of_one() -> Situation:
    """Reinforcement learning, one transition a step; acting runs without gradients."""
    return Situation(
        build=_Values,
        data=_transitions,
        places={"net.0": "net.1", "net.2": "net.3"},
        turn=_td,
        optimizer=adam,
        batch=1,
        kills=(Kill(layer="net.0", unit=4), Kill(layer="net.2", unit=11, step=5)),
        steps=320,
    )
