"""Heads, scales and gates that start at 0: nothing comes back through them at first, and nobody is dead."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from harm.parts import (
    CLASSES,
    SIZE,
    Residual,
    Scale,
    TanhGate,
    conv_norm,
    digits,
    mlp,
    pooled,
    vectors,
    zeroed,
)
from harm.registry import Kill, Quiet, Situation, adam, adamw, sgd, situation

WIDTH = 10


def _blocks(*, trained: bool = True) -> nn.Module:
    """Two residual blocks whose last norm scale starts at 0, as in timm's resnet10t."""
    bodies = [nn.Sequential(*conv_norm(6, 6), nn.ReLU(), *conv_norm(6, 6)) for _ in range(2)]
    for body in bodies:
        nn.init.zeros_(body[4].weight)
        body[4].weight.requires_grad_(trained)
    blocks = [Residual(body, nn.Identity()) for body in bodies]
    return nn.Sequential(*conv_norm(1, 6, stride=2), nn.ReLU(), *blocks, nn.ReLU(), *pooled(6))


BLOCK_PLACES = {
    "0": "2",
    **{f"{n}.body.{layer}": f"{n}.body.{at}" for n in (3, 4) for layer, at in ((0, 2), (3, 3))},
}


@situation
def zero_last_norm_scale() -> Situation:
    """The last norm scale of each residual block starts at 0."""
    return Situation(
        build=_blocks,
        data=digits,
        places=BLOCK_PLACES,
        kills=(Kill(layer="3.body.0", unit=2, norms=(("3.body.1", 2),)),),
    )


@situation
def zero_last_norm_scale_adamw() -> Situation:
    """The same with AdamW, killed in the middle."""
    return Situation(
        build=_blocks,
        data=digits,
        places=BLOCK_PLACES,
        optimizer=adamw,
        kills=(Kill(layer="4.body.0", unit=4, step=15, norms=(("4.body.1", 4),)),),
        steps=60,
    )


@situation
def frozen_zero_norm_scale() -> Situation:
    """These scales are frozen: what is before them is blocked."""
    return Situation(
        build=partial(_blocks, trained=False),
        data=digits,
        places=BLOCK_PLACES,
        kills=(Kill(layer="3.body.0", unit=1, norms=(("3.body.1", 1),)),),
        blocked={f"{n}.body.3": Quiet(cause=f"{n}.body.4") for n in (3, 4)},
    )


def _gated(gate: Callable[[], nn.Module], act: Callable[[], nn.Module] = nn.GELU) -> nn.Module:
    """Two residual blocks of linear layers, each behind a gate."""
    blocks = [Residual(mlp(WIDTH, 16, WIDTH, act=act), gate()) for _ in range(2)]
    return nn.Sequential(nn.Linear(SIZE, WIDTH), *blocks, nn.Linear(WIDTH, CLASSES))


GATED_PLACES = {
    "0": "0",
    **{f"{n}.body.{layer}": f"{n}.body.{at}" for n in (1, 2) for layer, at in ((0, 1), (2, 2))},
}


@situation
def layer_scale_zero() -> Situation:
    """LayerScale starts at 0."""
    return Situation(
        build=partial(_gated, lambda: Scale(0.0, WIDTH)),
        data=vectors,
        places=GATED_PLACES,
        optimizer=adamw,
        kills=(Kill(layer="1.body.0", unit=5),),
    )


@situation
def layer_scale_tiny() -> Situation:
    """LayerScale starts at 1e-6, and its rate is low: gradients behind it are tiny."""
    return Situation(
        build=partial(_gated, lambda: Scale(1e-6, WIDTH)),
        data=vectors,
        places=GATED_PLACES,
        optimizer=partial(adamw, lr=1e-6),
        kills=(Kill(layer="2.body.0", unit=0, step=8),),
    )


@situation
def rezero() -> Situation:
    """ReZero: one scalar a block, from 0."""
    return Situation(
        build=partial(_gated, lambda: Scale(0.0), act=nn.ReLU),
        data=vectors,
        places=GATED_PLACES,
        optimizer=sgd,
        kills=(Kill(layer="1.body.0", unit=3, step=10),),
    )


@situation
def rezero_frozen() -> Situation:
    """These scalars are frozen at 0: what is before them is blocked."""
    return Situation(
        build=partial(_gated, lambda: Scale(0.0, trained=False), act=nn.ReLU),
        data=vectors,
        places=GATED_PLACES,
        optimizer=adam,
        kills=(Kill(layer="1.body.0", unit=7),),
        blocked={f"{n}.body.2": Quiet(cause=f"{n}.gate") for n in (1, 2)},
    )


@situation
def tanh_gate() -> Situation:
    """A gate tanh(a) that starts at a = 0, as where new layers enter a trained network."""
    return Situation(
        build=partial(_gated, lambda: TanhGate(0.0)),
        data=vectors,
        places=GATED_PLACES,
        optimizer=adam,
        kills=(Kill(layer="2.body.0", unit=9, step=5),),
    )


@situation
def skip_init() -> Situation:
    """SkipInit: convolutions without norms, and a scalar of 0 at the end of the branch."""

    def build() -> nn.Module:
        body = nn.Sequential(
            nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1)
        )
        stem = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        return nn.Sequential(stem, nn.ReLU(), Residual(body, Scale(0.0)), *pooled(6))

    return Situation(
        build=build,
        data=digits,
        places={"0": "1", "2.body.0": "2.body.1", "2.body.2": "2.body.2"},
        kills=(Kill(layer="2.body.0", unit=6),),
    )


@situation
def zero_out_projection() -> Situation:
    """The last layer of each residual branch starts at 0, weights and bias."""

    def build() -> nn.Module:
        model = _gated(nn.Identity)
        for block in (model[1], model[2]):
            zeroed(block.body[2])
        return model

    return Situation(
        build=build,
        data=vectors,
        places=GATED_PLACES,
        spared=frozenset({"1.body.2", "2.body.2"}),
        kills=(Kill(layer="2.body.0", unit=11),),
    )
