"""Blocks, channels and widths that are left out in a step, and experts that are not asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from harm.parts import CLASSES, SIZE, DropPath, Residual, digits, pooled, vectors
from harm.registry import Kill, Situation, adam, adamw, situation

WIDTH = 10
BODY_PLACES = {"0": "1", "2.body.0": "2.body.1", "2.body.2": "2.body.2"}


def _with_body(gate: Callable[[], nn.Module]) -> nn.Module:
    body = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1))
    stem = nn.Conv2d(1, 6, 3, stride=2, padding=1)
    return nn.Sequential(stem, nn.ReLU(), Residual(body, gate()), *pooled(6))


@situation
def stochastic_depth_batch() -> Situation:
    """Stochastic depth leaves a block out for half of the batches."""
    return Situation(
        build=partial(_with_body, lambda: DropPath(0.5, "batch")),
        data=digits,
        places=BODY_PLACES,
        kills=(Kill(layer="2.body.0", unit=2), Kill(layer="0", unit=0, step=14)),
    )


@situation
def stochastic_depth_row() -> Situation:
    """Stochastic depth leaves a block out for half of the examples, and a batch has four."""
    return Situation(
        build=partial(_with_body, lambda: DropPath(0.5, "row")),
        data=digits,
        places=BODY_PLACES,
        optimizer=adam,
        batch=4,
        kills=(Kill(layer="2.body.0", unit=7),),
        steps=92,
    )


@situation
def dropped_channels_batch_of_two() -> Situation:
    """Dropout2d with p = 0.5 and batches of two: a channel is out for a whole batch in a quarter of the steps."""

    def build() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Dropout2d(0.5)),
            *(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(8, 10)),
        )

    return Situation(
        build=build,
        data=digits,
        places={"0": "1", "3": "4"},
        optimizer=adamw,
        batch=2,
        kills=(Kill(layer="0", unit=5),),
        steps=166,
    )


@situation
def heavy_dropout() -> Situation:
    """Dropout with p = 0.9 and batches of eight: a unit is out for a whole batch in 43 % of the steps."""

    def build() -> nn.Module:
        return nn.Sequential(
            *(nn.Linear(SIZE, 24), nn.ReLU(), nn.Dropout(0.9)),
            *(nn.Linear(24, 24), nn.ReLU(), nn.Dropout(0.9), nn.Linear(24, CLASSES)),
        )

    return Situation(
        build=build,
        data=vectors,
        places={"0": "1", "3": "4"},
        optimizer=adam,
        batch=8,
        kills=(Kill(layer="0", unit=9, step=6), Kill(layer="3", unit=1)),
        steps=75,
    )
