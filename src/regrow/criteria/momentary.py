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
        """The scores of one layer.

        Args:
            observation: With what the criterion needs, as far as it was there.

        Returns:
            (*S, O); None where it was not.
        """

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Score the layer as it is.

        Args:
            state: Not used.
            observation: As for `scores_of`.

        Returns:
            The scores; nothing where what they need was not there.
        """
        del state
        scores = self.scores_of(observation)
        return {} if scores is None else {"scores": scores}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """What was observed last.

        Args:
            state: From `observe`.
            layer: Not used.
            count: Not used.
            step: Not used.
            seed: Not used.

        Returns:
            Nothing to remember, and the scores, (*S, O), or None.
        """
        del layer, count, step, seed
        return {}, state.get("scores")
