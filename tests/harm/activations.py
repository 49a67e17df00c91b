"""Plain networks of linear layers, by activation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from harm.parts import CLASSES, PLAIN_PLACES, SIZE, mlp, vectors
from harm.registry import (
    Kill,
    Situation,
    adam,
    adamw,
    situation,
)

WIDTH = 16


@situation
def dense_relu() -> Situation:
    """A plain network of linear layers and ReLU."""
    return Situation(
        build=partial(mlp, SIZE, WIDTH, WIDTH, CLASSES),
        data=vectors,
        places=PLAIN_PLACES,
        optimizer=adam,
        kills=(Kill(layer="0", unit=2), Kill(layer="2", unit=13, step=14)),
    )


@situation
def rare_units() -> Situation:
    """Some units fire on one example in a hundred."""

    def build() -> nn.Module:
        model, x = mlp(SIZE, WIDTH, WIDTH, CLASSES), vectors()[0]
        with torch.no_grad():
            before = x @ model[0].weight.T
            model[0].bias[:5] = -before.quantile(0.99, dim=0)[:5]
        return model

    return Situation(
        build=build,
        data=vectors,
        places=PLAIN_PLACES,
        optimizer=partial(adam, lr=1e-4),
        kills=(Kill(layer="0", unit=9, step=11),),
        steps=50,
    )


def _with(act: Callable[[], nn.Module], *kills: Kill) -> Situation:
    return Situation(
        build=partial(mlp, SIZE, WIDTH, WIDTH, CLASSES, act=act),
        data=vectors,
        places=PLAIN_PLACES,
        optimizer=adamw,
        kills=kills,
    )


@situation
def gelu() -> Situation:
    """GELU."""
    return _with(nn.GELU, Kill(layer="0", unit=8), Kill(layer="2", unit=0, step=10))


@situation
def silu() -> Situation:
    """SiLU."""
    return _with(nn.SiLU, Kill(layer="2", unit=6), Kill(layer="0", unit=1, step=12))


@situation
def saturated_sigmoid() -> Situation:
    """A sigmoid that gives 1 to everybody is dead, though it is not 0."""
    return _with(nn.Sigmoid, Kill(layer="0", unit=4, shift=100.0))
