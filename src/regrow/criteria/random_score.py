"""Scores drawn at random: the control that every criterion has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Scores
from regrow.criteria.base import CriterionState, Observation
from regrow.draw.keys import Key, uniform_rows


@final
@dataclass(frozen=True, kw_only=True)
class RandomScore:
    """A uniform number in (0, 1) for every filter, by seed, step, layer and filter."""

    needs = frozenset()

    every_step = False

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Look at nothing."""
        del observation
        return state

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """(O,) on the CPU in float64, keyed by all that it is told."""
        key = Key(seed=seed, step=step, layer=layer, purpose="random score")
        return state, uniform_rows(key, filters=torch.arange(count, device="cpu"), count=1)[:, 0]
