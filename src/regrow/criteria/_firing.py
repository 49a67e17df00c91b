"""Who fires in a step: what the criteria that count silences have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor

from regrow._checks import check_whole
from regrow._shapes import Mask, Scores
from regrow.criteria.base import CriterionState, Observation, Signal
from regrow.errors import ConfigError


class SilenceCriterion(ABC):
    """Scores of how long units have been silent, counted in steps in which they were seen.

    A unit fires in a step if it gives a value above 0. Unless `as_published` it must give two different ones, for
    behind a norm a dead ReLU gives a constant of any sign; and a silence that is not its own does not count.
    """

    as_published: bool

    every_step = True

    @property
    def needs(self) -> frozenset[Signal]:
        """What units give; who is silent, starved or blocked only where that is asked."""
        return frozenset({Signal.MEANS if self.as_published else Signal.ACTIVITY})

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Count on; a step without sums counts for nothing."""
        activity = observation.activity
        if activity is None or activity.positive is None:
            return state
        fire, counts = (activity.positive > 0) & activity.seen, activity.seen
        if not (self.as_published or activity.lively):
            fire = fire & ~activity.silent
            counts = counts & ~activity.starved & ~activity.blocked
        return self.counted(state, fire=fire, counts=counts)

    @abstractmethod
    def counted(self, state: CriterionState, *, fire: Mask, counts: Mask) -> CriterionState:
        """What is remembered after a step in which some units fired, and which counts for some."""

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """None where no pass was seen."""
        del layer, count, step, seed
        return state, self.scores_of(state) if state else None

    @abstractmethod
    def scores_of(self, state: CriterionState) -> Scores:
        """The scores, (*S, O) float64, of what is remembered."""


def check_silences(least: object, most: object, *, where: str) -> None:
    """Refuse lengths of silences that are none, or in the wrong order."""
    check_whole(least, name="min_silence", where=where, least=1)
    check_whole(most, name="max_silence", where=where, least=1)
    if cast("int", least) > cast("int", most):
        raise ConfigError(
            f"min_silence must be at most max_silence, got {least!r} and {most!r} ({where})"
        )


def longer(was: Tensor, *, counts: Mask, fire: Mask) -> Tensor:
    """Silences after one more step, in steps: 0 for who fires."""
    return torch.where(fire, 0, was + counts.to(was.dtype))


def begun(like: Tensor, *shape: int, value: int = 0) -> Tensor:
    """One whole number a unit, or more of them."""
    return like.new_full((*like.shape, *shape), value, dtype=torch.int32)
