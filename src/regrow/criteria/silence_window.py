"""The windows of `Liveness`: for how long each filter of a layer has been silent, and what came of it.

Tensors by filter, (O,), one dict a layer, as a criterion remembers them: they are saved, forked and resumed like any
other. Nothing is kept of a layer in which nobody was silent, is kept, or was renewed in vain.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from regrow.criteria.base import CriterionState, KeepReason, LayerActivity

_VAIN: Final = 3
"""Renewals without a sign of life in between, after which a filter is left alone."""

_KINDS: Final = {
    "steps": torch.int64,
    "examples": torch.int64,
    "starved": torch.bool,
    "blocked": torch.bool,
    "kept": torch.int8,
    "vain": torch.int8,
    "watch": torch.int16,
    "now": torch.bool,
    "stirred": torch.bool,
}


def whole(own: CriterionState, like: Tensor) -> CriterionState:
    """What is remembered, begun where there is nothing."""
    if own:
        return own
    return {
        key: torch.zeros(like.shape, dtype=kind, device=like.device) for key, kind in _KINDS.items()
    }


def pruned(own: CriterionState) -> CriterionState:
    """Nothing, where nobody is silent, kept, or was renewed in vain."""
    telling = ("steps", "kept", "vain", "watch", "stirred")
    return own if any(bool(own[key].any()) for key in telling) else {}


def counted(
    own: CriterionState, activity: LayerActivity, *, steps: int, examples: int
) -> CriterionState:
    """What is remembered after a step whose passes were read.

    `own`: before it; `steps` and `examples`: the length of a window.
    """
    if not own and (activity.lively or not bool((activity.silent | ~activity.seen).any())):
        return own
    # Begun with the first silent filter: where all live there is nothing to keep, to save or to look at.
    was = whole(own, activity.silent)
    # Who was not seen is neither: a step that leaves a block out (stochastic depth) neither goes on nor breaks off
    # a window.
    silent, alive = activity.silent & activity.seen, activity.seen & ~activity.silent
    zero = torch.zeros_like(was["steps"])
    first = was["steps"] == 0
    silent_steps = torch.where(silent, was["steps"] + 1, torch.where(alive, zero, was["steps"]))
    seen_examples = torch.where(
        silent, was["examples"] + activity.examples, torch.where(alive, zero, was["examples"])
    )
    # Starved in every step of the window; one change in what it hears shows that it could have answered. Blocked in
    # any of them: one factor of 0 explains the silence.
    starved = torch.where(silent, activity.starved & (first | was["starved"]), was["starved"])
    blocked = torch.where(silent, activity.blocked | (~first & was["blocked"]), was["blocked"])
    ended = (silent_steps >= steps) & (seen_examples >= examples) & silent
    kept = torch.where(alive | ended, 0, was["kept"])  # a window that has ended judges anew
    # Where nobody in a layer lives the network is cut, and there is nothing else to try.
    # Without an end, a filter that nothing can help would be drawn anew every few steps for the whole training.
    given_up = (was["vain"] >= _VAIN) & alive.any()
    for code, who in (
        (KeepReason.GIVEN_UP, given_up),
        (KeepReason.BLOCKED, blocked),
        (KeepReason.STARVED, starved),
    ):
        kept = torch.where(ended & who, code.value, kept)
    judged = ended & (kept > 0)
    dead = ended & (kept == 0)
    return {
        # Judged and kept, it begins a new window; one that is dead keeps its count until it is renewed.
        "steps": torch.where(judged, 0, silent_steps),
        "examples": torch.where(judged, 0, seen_examples),
        "starved": starved,
        "blocked": blocked,
        "kept": kept.to(torch.int8),
        "vain": torch.where(alive, 0, was["vain"]).to(torch.int8),
        # Who is silent now and then is caught when it is silent for long: the watch goes on for a window's length,
        # and until it has seen something.
        "watch": (was["watch"] - activity.seen.any().to(torch.int16)).clamp(min=0),
        "now": dead,
        "stirred": was["stirred"] | (alive & (was["vain"] > 0)),
    }
