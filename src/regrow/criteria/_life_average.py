"""Averages over each unit's own life: what a renewed unit did before is not counted to it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from regrow._shapes import Mask, Scores
from regrow.criteria._anew import anew
from regrow.criteria.base import CriterionState, LayerActivity, Observation


def debiased(average: Scores, *, age: Int[Tensor, "*S O"], decay: float) -> Scores:
    """A running average that began at 0, as what it is an average of.

        corrected[o] = average[o] / (1 - decay^age[o])

    Without it a unit that is as good as the others looks worse as long as it is young: with a decay of 0.99 it reads
    0.63 of its value after a hundred steps, and is taken again.

    Args:
        average: u <- decay * u + (1 - decay) * value, from 0 on, (*S, O). Read, never written.
        age: How many values went into it, (*S, O).
        decay: Within [0, 1).

    Returns:
        (*S, O), in float64.

    Edge cases:
        At an age of 0 it is nan.

    Examples:
        >>> debiased(torch.tensor([0.1]), age=torch.tensor([1]), decay=0.9)
        tensor([1.0000], dtype=torch.float64)
    """
    return average.double() / (1.0 - decay ** age.double())


def _numbers(values: Tensor, among: Tensor | None) -> Tensor | None:
    """Entries that are finite, of some units (None: of all); None where all of them are, as nearly always."""
    if among is not None:
        return among.reshape(*among.shape, *[1] * (values.ndim - among.ndim)) & values.isfinite()
    # On another device to see that costs a wait; sums that overflow are looked at in full.
    all_finite = values.device.type == "cpu" and math.isfinite(values.sum().item())
    return None if all_finite else values.isfinite()


def by_own_age(average: Scores, *, age: Int[Tensor, "*S O"], decay: float) -> Scores:
    """`debiased`; a unit that was never seen scores as the best of its layer."""
    scores = debiased(average, age=age, decay=decay)
    best = scores.nan_to_num(0.0).amax(-1, keepdim=True)
    return torch.where(age > 0, scores, best)


class LifeAverage(ABC):
    """The running average of one number a step, corrected by the unit's own age, as a score.

        a <- decay * a + (1 - decay) * number of the step,    score = a / (1 - decay^age)

    Attributes:
        key: What the average is called in the state.
    """

    key: ClassVar[str]
    decay: float

    every_step = True

    @abstractmethod
    def of_step(self, observation: Observation, activity: LayerActivity) -> Scores | None:
        """The number of each unit in one step, nan where nothing is known of it; None: of the whole layer."""

    def beside(self, activity: LayerActivity) -> Mapping[str, Tensor]:
        """What else is averaged in the same steps, by name in the state, units in front."""
        del activity
        return {}

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Take one step into the averages; ``age`` counts those that count."""
        activity = observation.activity
        value = None if activity is None else self.of_step(observation, activity)
        if activity is None or value is None:
            return state
        counts = _numbers(value, None if activity.lively else activity.seen)
        age = state["age"] if state else torch.zeros_like(value, dtype=torch.int64)
        after = {
            self.key: self._averaged(state, self.key, value, counts),
            "age": age + (1 if counts is None else counts),
        }
        for key, other in self.beside(activity).items():
            after[key] = self._averaged(state, key, other, _numbers(other, counts))
        return after

    def _averaged(
        self, state: CriterionState, key: str, value: Tensor, counts: Tensor | None
    ) -> Tensor:
        was = state[key] if key in state else torch.zeros_like(value)
        after = self.decay * was + (1 - self.decay) * value
        return after if counts is None else torch.where(counts, after, was)

    def is_scored(self, state: CriterionState) -> bool:
        """Whether a layer has a score: then each of its units has one, and it is a number."""
        return self.key in state

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """By each unit's own age, in float64; None where nothing was observed."""
        del layer, count, step, seed
        if self.key not in state:
            return state, None
        return state, by_own_age(state[self.key], age=state["age"], decay=self.decay)

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: their averages begin anew."""
        return anew(state, mask, dict.fromkeys(state, 0))
