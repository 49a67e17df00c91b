"""Gradients and rates that are tiny, 0 or coarse, whoever is alive."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adam

from harm.parts import (
    CLASSES,
    NORMED_PLACES,
    PLAIN_PLACES,
    SIZE,
    cnn,
    digits,
    mlp,
    normed,
    vectors,
    zeroed,
)
from harm.registry import (
    Kill,
    Situation,
    Turn,
    adam,
    adamw,
    classify,
    situation,
)


def _autocast(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answers = turn.model(turn.x)
    functional.cross_entropy(answers.float(), turn.y).backward()


@situation
def autocast_bfloat16() -> Situation:
    """Mixed precision: the forward pass in bfloat16."""
    return Situation(
        build=partial(mlp, SIZE, 16, 16, CLASSES),
        data=vectors,
        places=PLAIN_PLACES,
        turn=_autocast,
        optimizer=adamw,
        kills=(Kill(layer="2", unit=4, step=7),),
    )


def _with_frozen_norms(turn: Turn) -> None:
    """The norms stay in evaluation mode, as when a trained backbone is tuned."""
    for module in turn.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    classify(turn)


@situation
def norms_in_evaluation_mode() -> Situation:
    """Batch norms stay in evaluation mode while all is tuned, under a fresh head of zeros."""

    def build() -> nn.Module:
        model = normed()
        zeroed(model[8])
        return model

    return Situation(
        build=build,
        data=digits,
        places=NORMED_PLACES,
        turn=_with_frozen_norms,
        optimizer=adam,
        kills=(Kill(layer="0", unit=3, norms=(("1", 3),)),),
    )


ZERO_STEPS = 15


def _warmed_up(turn: Turn) -> None:
    for group in turn.optimizer.param_groups:
        group["lr"] = 0.0 if turn.step < ZERO_STEPS else 0.05
    classify(turn)


@situation
def rate_of_zero() -> Situation:
    """The warm-up begins with a rate of 0."""
    return Situation(
        build=cnn,
        data=digits,
        places=PLAIN_PLACES,
        turn=_warmed_up,
        # The steps at a rate of 0 do not count.
        kills=(Kill(layer="2", unit=7, limit=ZERO_STEPS + 10),),
    )


def _clipped(turn: Turn) -> None:
    classify(turn)
    nn.utils.clip_grad_norm_(turn.model.parameters(), 1e-9)


@situation
def clipped_to_tiny() -> Situation:
    """Gradients are clipped to a norm of 1e-9: all of them are below the threshold."""
    return Situation(
        build=cnn,
        data=digits,
        places=PLAIN_PLACES,
        turn=_clipped,
        optimizer=partial(SGD, lr=1e7),
        kills=(Kill(layer="0", unit=4, step=6),),
    )


def _scaled_down(turn: Turn) -> None:
    turn.optimizer.zero_grad()
    (1e-12 * functional.cross_entropy(turn.model(turn.x), turn.y)).backward()


@situation
def tiny_loss() -> Situation:
    """The loss is scaled by 1e-12, and Adam does not mind: all gradients are below the threshold."""
    return Situation(
        build=partial(mlp, SIZE, 16, 16, CLASSES),
        data=vectors,
        places=PLAIN_PLACES,
        turn=_scaled_down,
        optimizer=partial(Adam, lr=3e-3, eps=1e-18),
        kills=(Kill(layer="0", unit=15), Kill(layer="2", unit=3, step=16)),
    )
