"""What training loops do around a step: accumulation, checkpointing, mixed precision, warm-up, other passes."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.utils.checkpoint import checkpoint

from harm.parts import (
    CLASSES,
    EXAMPLES,
    NORMED_PLACES,
    PLAIN_PLACES,
    SIZE,
    cnn,
    dice,
    digits,
    frozen,
    mlp,
    normed,
    vectors,
)
from harm.registry import Data, Heard, Kill, Situation, Turn, adam, classify, situation

WIDTH = 12


def _accumulated(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    for x, y in zip(turn.x.split(8), turn.y.split(8), strict=True):
        (functional.cross_entropy(turn.model(x), y) / 4).backward()


@situation
def accumulation() -> Situation:
    """A step is made of four micro-batches of eight."""
    return Situation(
        build=cnn,
        data=digits,
        places=PLAIN_PLACES,
        turn=_accumulated,
        kills=(Kill(layer="0", unit=3), Kill(layer="2", unit=1, step=11)),
    )


class _Recomputed(nn.Module):
    """A part that is worked out again in the backward pass."""

    def __init__(self, body: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.body, self.reentrant = body, reentrant

    def forward(self, x: Tensor) -> Tensor:
        """What the body gives."""
        if not self.training:
            return self.body(x)
        return checkpoint(self.body, x, use_reentrant=self.reentrant)


def _checkpointed(*, reentrant: bool) -> nn.Module:
    body = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    part = _Recomputed(body, reentrant=reentrant)
    return nn.Sequential(nn.Linear(SIZE, WIDTH), nn.ReLU(), part, nn.Linear(WIDTH, CLASSES))


def _checkpointing(*, reentrant: bool) -> Situation:
    return Situation(
        build=partial(_checkpointed, reentrant=reentrant),
        data=vectors,
        places={"0": "1", "2.body.0": "2.body.1", "2.body.2": "2.body.3"},
        optimizer=adam,
        kills=(Kill(layer="2.body.0", unit=5), Kill(layer="0", unit=0, step=13)),
    )


@situation
def checkpointing_reentrant() -> Situation:
    """Gradient checkpointing, use_reentrant=True: the first pass has no gradients."""
    return _checkpointing(reentrant=True)


@situation
def checkpointing() -> Situation:
    """Gradient checkpointing, use_reentrant=False."""
    return _checkpointing(reentrant=False)


class _Adversaries(nn.Module):
    """A generator and the discriminator that is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.tell = mlp(4, WIDTH, SIZE), mlp(SIZE, WIDTH, WIDTH, 1)

    def forward(self, noise: Tensor) -> Tensor:
        """What the discriminator says of what the generator makes."""
        return self.tell(self.make(noise))


def _noise_and_vectors() -> Data:
    """The noise is what the network is called with, the vectors are what is real."""
    return torch.randn(EXAMPLES, 4, generator=dice(2)), vectors()[0]


def _against_each_other(turn: Turn) -> None:
    """Three passes of the discriminator: one without gradients, the generator's step, its own."""
    model, says = turn.model, functional.binary_cross_entropy_with_logits
    makers = turn.memory.setdefault("makers", Adam(model.make.parameters(), lr=1e-3))
    with torch.no_grad():
        model.tell(turn.y * 0.0)
    makers.zero_grad()
    model.tell.requires_grad_(False)
    scores = model(turn.x)
    says(scores, torch.ones_like(scores)).backward()
    model.tell.requires_grad_(True)
    makers.step()
    turn.optimizer.zero_grad()
    both = torch.cat((turn.y, model.make(turn.x).detach()))
    truth = torch.cat((torch.ones(len(turn.y), 1), torch.zeros(len(turn.x), 1)))
    says(model.tell(both), truth).backward()


def _told(model: nn.Module, noise: Tensor) -> Heard:
    both = torch.cat((vectors()[0].double(), model.make(noise)))
    first = model.tell[0](both).relu()
    return {"tell.0": [first], "tell.2": [model.tell[2](first).relu()]}


@situation
def gan_discriminator() -> Situation:
    """A GAN's discriminator, which the generator's step and a score run without its gradients."""
    return Situation(
        build=_Adversaries,
        data=_noise_and_vectors,
        heard=_told,
        turn=_against_each_other,
        trained=lambda model: list(model.tell.parameters()),
        optimizer=partial(Adam, lr=1e-3),
        kills=(Kill(layer="tell.2", unit=2), Kill(layer="tell.0", unit=9, step=10)),
    )


@situation
def frozen_layers() -> Situation:
    """The first layer is frozen, a dead filter of it too: nobody touches it."""

    def build() -> nn.Module:
        model = cnn()
        Kill(layer="0", unit=1)(model)
        frozen(model[0])
        return model

    return Situation(
        build=build, data=digits, places=PLAIN_PLACES, kills=(Kill(layer="2", unit=0, step=9),)
    )


def _validated(turn: Turn) -> None:
    classify(turn)
    with torch.no_grad():
        for _ in range(2):
            turn.model(torch.zeros_like(turn.x))


@situation
def validation_in_training_mode() -> Situation:
    """Between the steps passes without gradients, in training mode, on blank images."""

    return Situation(
        build=normed,
        data=digits,
        places=NORMED_PLACES,
        turn=_validated,
        kills=(Kill(layer="3", unit=2, norms=(("4", 2),)),),
    )


def _pairs() -> Data:
    """(N, 2, SIZE), and whether both have one class."""
    x, y = vectors()
    other = torch.randperm(EXAMPLES, generator=dice(4))
    return torch.stack((x, x[other]), 1), (y == y[other]).float()


class _Siamese(nn.Module):
    """One network for both of a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(SIZE, WIDTH, WIDTH, 6)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, SIZE) to the distance of the two, (N,)."""
        first, second = (self.net(each) for each in x.unbind(1))
        return (first - second).square().sum(1)


def _contrastive(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    apart = turn.model(turn.x)
    (turn.y * apart + (1 - turn.y) * (1 - apart).relu()).mean().backward()


@situation
def siamese() -> Situation:
    """Weights that are used twice in a pass, with a contrastive loss."""
    return Situation(
        build=_Siamese,
        data=_pairs,
        places={"net.0": "net.1", "net.2": "net.3"},
        turn=_contrastive,
        kills=(Kill(layer="net.0", unit=6, step=8),),
    )
