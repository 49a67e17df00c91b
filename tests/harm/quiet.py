"""Units that really say nothing: dead ones that only silence tells, starved ones, and some that nothing helps."""

from __future__ import annotations

from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.optim import SGD

from harm.parts import CLASSES, SIZE, conv_norm, digits, frozen, mlp, pooled, vectors
from harm.registry import Data, Kill, Quiet, Situation, adam, situation


def _normed() -> nn.Module:
    return nn.Sequential(
        *(*conv_norm(1, 6, stride=2), nn.ReLU()), *(*conv_norm(6, 8), nn.ReLU()), *pooled(8)
    )


NORMED_PLACES = {"0": "2", "3": "5"}


@situation
def killed_by_its_norm() -> Situation:
    """A norm's scale is 0 and its shift below 0, before ReLU: no gradient, so that it is dead and not blocked."""
    return Situation(
        build=_normed,
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
        build=_normed,
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
        kills=(Kill(layer="0", unit=3, step=4),),
        given_up={"2": Quiet(units=(5,))},
        steps=110,
    )
