"""Units that really say nothing: dead ones that only silence tells, starved ones, and some that nothing helps."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

import regrow
from harm.parts import (
    CLASSES,
    NORMED_PLACES,
    PLAIN_PLACES,
    SIZE,
    cnn,
    digits,
    frozen,
    mlp,
    normed,
    vectors,
)
from harm.registry import Data, Kill, Quiet, Situation, Turn, adam, sgd, situation


@situation
def killed_by_its_norm() -> Situation:
    """A norm's scale is 0 and its shift below 0, before ReLU: no gradient, so that it is dead and not blocked."""
    return Situation(
        build=normed,
        data=digits,
        places=NORMED_PLACES,
        optimizer=partial(SGD, lr=0.05),
        kills=(
            Kill(layer="3", unit=4, weight=None, norms=(("4", 4),), shift=-1.0, scale=0.0),
            Kill(layer="0", unit=1, step=8, weight=None, norms=(("1", 1),), shift=-1.0, scale=0.0),
        ),
    )


@situation
def constant_that_changes() -> Situation:
    """A constant that moves with its norm's shift from pass to pass says nothing either."""
    return Situation(
        build=normed,
        data=digits,
        places=NORMED_PLACES,
        optimizer=partial(SGD, lr=0.05),
        kills=(Kill(layer="3", unit=2, norms=(("4", 2),), shift=0.5, scale=0.0),),
    )


class _TwoWays(nn.Module):
    """A way of its own, and one that goes through a layer that gives the same to everybody."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = nn.Linear(SIZE, 6), nn.Linear(6, 6)
        self.beside, self.head = nn.Linear(SIZE, 10), nn.Linear(16, CLASSES)
        with torch.no_grad():
            self.early.weight.zero_()
            self.early.bias.fill_(-100.0)
            self.late.bias.fill_(0.5)
        frozen(self.early)
        self.act = nn.ModuleDict({name: nn.ReLU() for name in ("early", "late", "beside")})

    def forward(self, x: Tensor) -> Tensor:
        """Both ways together."""
        late = self.act["late"](self.late(self.act["early"](self.early(x))))
        return self.head(torch.cat((late, self.act["beside"](self.beside(x))), 1))


@situation
def starved_by_a_frozen_layer() -> Situation:
    """The layer before is dead and frozen: what reads it hears a constant, and is not to blame."""
    return Situation(
        build=_TwoWays,
        data=vectors,
        places={"late": "act.late", "beside": "act.beside"},
        kills=(Kill(layer="beside", unit=3, step=7),),
        starved={"late": Quiet(cause="early")},
    )


class _TwoSenses(nn.Module):
    """One part of the input has a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.sounds = nn.Linear(SIZE, 8), nn.Linear(4, 6)
        self.joint, self.head = nn.Linear(14, 10), nn.Linear(10, CLASSES)
        self.act = nn.ModuleDict({name: nn.ReLU() for name in ("images", "sounds", "joint")})

    def forward(self, x: Tensor) -> Tensor:
        """The first SIZE columns, and the others."""
        images = self.act["images"](self.images(x[:, :SIZE]))
        sounds = self.act["sounds"](self.sounds(x[:, SIZE:]))
        return self.head(self.act["joint"](self.joint(torch.cat((images, sounds), 1))))


@cache
def _deaf() -> Data:
    x, y = vectors()
    return torch.cat((x, torch.zeros(len(x), 4)), 1), y


@situation
def missing_part_of_the_input() -> Situation:
    """A part of the input is 0 in all the data: the layer that reads it hears a constant."""
    return Situation(
        build=_TwoSenses,
        data=_deaf,
        places={name: f"act.{name}" for name in ("images", "sounds", "joint")},
        optimizer=adam,
        kills=(Kill(layer="joint", unit=2),),
        starved={"sounds": Quiet()},
    )


@situation
def nothing_helps() -> Situation:
    """The bias that keeps a unit silent is frozen: it is renewed three times, then left alone and named."""

    def build() -> nn.Module:
        model = mlp(SIZE, 12, 12, CLASSES)
        with torch.no_grad():
            model[2].bias.fill_(0.1)
            model[2].bias[5] = -1000.0
        model[2].bias.requires_grad_(False)
        return model

    return Situation(
        build=build,
        data=vectors,
        places={"0": "1", "2": "3"},
        kills=(Kill(layer="0", unit=3, step=4, needs_frozen=("RandomOut(preserve=True)",)),),
        given_up={"2": Quiet(units=(5,))},
        steps=110,
    )


def _with_l2(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    penalty = sum(each.square().sum() for each in turn.model.parameters())
    (functional.cross_entropy(turn.model(turn.x), turn.y) + 1e-4 * penalty).backward()


@situation
def l2_in_the_loss() -> Situation:
    """An L2 penalty inside the loss gives dead units a gradient: only their silence tells them."""
    return Situation(
        build=partial(mlp, SIZE, 12, 12, CLASSES),
        data=vectors,
        places=PLAIN_PLACES,
        turn=_with_l2,
        optimizer=sgd,
        kills=(
            Kill(layer="0", unit=3, weight=None, hidden=True),
            Kill(layer="2", unit=8, step=6, weight=None, hidden=True),
        ),
        steps=132,
    )


def _kept_apart(turn: Turn) -> None:
    if "layers" not in turn.memory:
        wiring = regrow.trace(turn.model, turn.x[:2])
        turn.memory["layers"] = wiring.renewable(layers=("conv",))
    turn.optimizer.zero_grad()
    penalty = regrow.losses.overlap_penalty(turn.model, turn.memory["layers"], weight=1e-3)
    (functional.cross_entropy(turn.model(turn.x), turn.y) + penalty).backward()


@situation
def overlap_penalty() -> Situation:
    """RePr's penalty inside the loss gives dead filters a gradient."""
    return Situation(
        build=cnn,
        data=digits,
        places=PLAIN_PLACES,
        turn=_kept_apart,
        kills=(Kill(layer="2", unit=6, step=5, weight=None, hidden=True),),
        steps=130,
    )
