"""Who fires in a step: what the criteria that count silences have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from regrow._checks import check_whole
from regrow.criteria.base import CriterionState, LayerActivity
from regrow.errors import ConfigError


def check_silences(least: object, most: object, *, where: str) -> None:
    """Refuse lengths of silences that are none, or in the wrong order."""
    check_whole(least, name="min_silence", where=where, least=1)
    check_whole(most, name="max_silence", where=where, least=1)
    if cast("int", least) > cast("int", most):
        raise ConfigError(
            f"min_silence must be at most max_silence, got {least!r} and {most!r} ({where})"
        )


def fires(activity: LayerActivity, *, as_published: bool) -> Tensor | None:
    """Units that gave a value above 0, (O,); None where no sums were taken.

    By default also only those that gave two different ones: behind a norm a dead ReLU gives a constant of any sign.
    """
    if activity.positive is None:
        return None
    found = (activity.positive > 0) & activity.seen
    return found if as_published or activity.lively else found & ~activity.silent


def counted(activity: LayerActivity, *, as_published: bool) -> Tensor:
    """Units whose step counts: they were seen, and a silence of theirs would be their own."""
    if as_published or activity.lively:
        return activity.seen
    return activity.seen & ~activity.starved & ~activity.blocked


def longer(was: Tensor, *, counts: Tensor, fire: Tensor) -> Tensor:
    """Silences after one more step, in steps: 0 for who fires."""
    return torch.where(fire, 0, was + counts.to(was.dtype))


def begun(like: Tensor, *shape: int, value: int = 0) -> Tensor:
    """One whole number a unit, or more of them."""
    return torch.full((*like.shape, *shape), value, dtype=torch.int32, device=like.device)


def anew(state: CriterionState, mask: Tensor, start: Mapping[str, int]) -> CriterionState:
    """The state in which marked units begin anew, with one number each in all of their entries."""
    return {
        key: torch.where(
            mask.reshape(*mask.shape, *[1] * (each.ndim - mask.ndim)), start[key], each
        )
        if key in start
        else each
        for key, each in state.items()
    }
