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
from regrow.criteria.base import CriterionState, LayerActivity, Observation
from regrow.errors import ConfigError


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


def _all_finite(values: Tensor) -> bool:
    """Whether all are, if that is seen without a wait for another device; sums that overflow are looked at in full."""
    return values.device.type == "cpu" and math.isfinite(values.sum().item())


class LifeAverage(ABC):
    """The running average of one number a step, corrected by the unit's own age, as a score.

        a <- decay * a + (1 - decay) * number of the step,    score = a / (1 - decay^age)

    Attributes:
        key: What the average is called in the state.
    """

    key: ClassVar[str]
    decay: float

    every_step = True

    def check_decay(self, where: str) -> None:
        """Refuse a decay outside [0, 1)."""
        value = self.decay
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:  # pyright: ignore[reportUnnecessaryIsInstance] # users' words
            raise ConfigError(f"decay must be within [0, 1), got {value!r} ({where})")

    @abstractmethod
    def of_step(self, observation: Observation, activity: LayerActivity) -> Scores | None:
        """The number of each unit in one step."""

    def beside(self, activity: LayerActivity) -> Mapping[str, Tensor]:
        """What else is averaged, in the same steps."""
        del activity
        return {}

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Take one step into the averages."""
        activity = observation.activity
        value = None if activity is None else self.of_step(observation, activity)
        if activity is None or value is None:
            return state
        # Nearly always every unit was seen, and all is finite: then nothing has to be chosen entry by entry.
        all_count = activity.lively and _all_finite(value)
        counts = None if all_count else activity.seen & value.isfinite()
        age = state.get("age")
        age = torch.zeros_like(value, dtype=torch.int64) if age is None else age
        after = {
            self.key: self._averaged(state, self.key, value, counts),
            "age": age + (1 if counts is None else counts),
        }
        for key, other in self.beside(activity).items():
            known: Tensor | None = None
            if counts is not None or not _all_finite(other):
                known = activity.seen & value.isfinite() if counts is None else counts
                known = known.reshape(*known.shape, *[1] * (other.ndim - known.ndim))
                known = known & other.isfinite()
            after[key] = self._averaged(state, key, other, known)
        return after

    def _averaged(
        self, state: CriterionState, key: str, value: Tensor, counts: Tensor | None
    ) -> Tensor:
        was = state.get(key)
        was = torch.zeros_like(value) if was is None else was
        after = self.decay * was + (1 - self.decay) * value
        return after if counts is None else torch.where(counts, after, was)

    def is_scored(self, state: CriterionState) -> bool:
        """Whether a layer has a score: then each of its units has one, and it is a number."""
        return self.key in state

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """The averages, corrected by each unit's own age."""
        del layer, count, step, seed
        if self.key not in state:
            return state, None
        scores = debiased(state[self.key], age=state["age"], decay=self.decay)
        best = scores.nan_to_num(0.0).amax(-1, keepdim=True)
        return state, torch.where(state["age"] > 0, scores, best)

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: their averages begin anew."""
        return {
            key: torch.where(
                mask.reshape(-1, *[1] * (value.ndim - 1)), torch.zeros_like(value), value
            )
            for key, value in state.items()
        }
