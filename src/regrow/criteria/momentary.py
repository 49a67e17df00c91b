"""Criteria that look at the network once, when a score is due."""

from __future__ import annotations

from abc import ABC, abstractmethod

from regrow._shapes import Scores
from regrow.criteria.base import CriterionState, Observation


class Momentary(ABC):
    """Scores of the network as it is at the step at which they are due; nothing is carried on from there."""

    every_step = False

    @abstractmethod
    def scores_of(self, observation: Observation) -> Scores | None:
        """The scores of one layer; None where what it needs was not there."""

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Score the layer as it is."""
        del state
        scores = self.scores_of(observation)
        return {} if scores is None else {"scores": scores}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """What was observed last."""
        del layer, count, step, seed
        return {}, state.get("scores")
