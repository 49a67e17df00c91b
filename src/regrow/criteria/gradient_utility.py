"""Gradient utility: CPR's criterion, the relative gradient on the average of each unit's own life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._checks import check_decay, check_flag
from regrow._shapes import Mask, Scores
from regrow.criteria._anew import anew
from regrow.criteria._life_average import by_own_age
from regrow.criteria.base import CriterionState, Observation, Signal
from regrow.criteria.gradient_size import gradient_norm


@final
@dataclass(frozen=True, kw_only=True)
class GradientUtility:
    """How much a unit learns beside the mean of its layer, on the average of the steps since it was renewed.

        u <- decay * u + (1 - decay) * relative gradient of the step,    score = u / (1 - decay^age)

    See `regrow.functional.relative_gradient` and `regrow.functional.debiased`.

    Args:
        decay: Of the averages, within [0, 1). 0: the last step alone.
        from_one: Begin each average at 1, the mean of the layer, and correct nothing, as the released code does.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        A step in which no gradient reaches any unit of a layer counts for nothing in it, and so does one in which a
        gradient is not finite. A layer that has had no other yet has no score; a unit that has had none since it was
        renewed scores as the best of it.

    Source:
        "Calibrated partial resets", arXiv 2607.24996, as released, without its 1e-8 in the denominator.
    """

    decay: float = 0.99
    from_one: bool = False

    needs = frozenset({Signal.GRADIENTS})
    every_step = True

    def __post_init__(self) -> None:
        check_decay(self.decay, where="gradient utility")
        check_flag(self.from_one, name="from_one", where="gradient utility")

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """``utility`` (float64) and ``age``, (*S, O)."""
        if observation.grad is None:
            return state
        sizes = gradient_norm(observation.grad).double()
        mean = sizes.mean(-1, keepdim=True)
        counts = (mean > 0) & mean.isfinite()  # else its shares are no numbers
        was = state["utility"] if state else torch.full_like(sizes, float(self.from_one))
        age = state["age"] if state else torch.zeros_like(sizes, dtype=torch.int64)
        averaged = was.lerp(sizes / mean, 1 - self.decay)
        return {"utility": torch.where(counts, averaged, was), "age": age + counts}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """None where nothing that counts was observed."""
        del layer, count, step, seed
        if not state or not bool(state["age"].any()):
            return state, None
        if self.from_one:
            return state, state["utility"]
        return state, by_own_age(state["utility"], age=state["age"], decay=self.decay)

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed, or moved a part of the way: their averages begin anew."""
        return anew(state, mask, {"utility": float(self.from_one), "age": 0})
