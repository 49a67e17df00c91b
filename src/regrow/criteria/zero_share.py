"""APoZ: filters that are silent most of the time score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import CriterionState, Observation, Signal


@final
@dataclass(frozen=True, kw_only=True)
class ZeroShare:
    """Minus the share of zeros in what the network hears of a filter (APoZ): see `regrow.functional.zero_share`.

    Edge cases:
        Exact zeros are counted, at the inputs of the filter's readers. Behind max pooling that is the share of windows
        without any activation, which is less than the share of zeros in front of it. Behind an activation that gives
        no zeros (GELU, sigmoid) all filters score 0 alike.

    Source:
        Hu et al., "Network Trimming", 2016; the ranking "APoZ" of Prakash et al. 2019, Section 5.
    """

    @property
    def needs(self) -> frozenset[Signal]:
        """What it looks at."""
        return frozenset({Signal.ACTIVATIONS})

    @property
    def scale_invariant(self) -> bool:
        """Whether scores stay when all that is observed is multiplied by a number."""
        return True

    @property
    def every_step(self) -> bool:
        """Measured when a score is due."""
        return False

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """The shares as they were measured.

        Args:
            state: Not used.
            observation: With `heard`.

        Returns:
            The scores; nothing where they could not be measured.
        """
        del state
        if observation.heard is None:
            return {}
        return {"scores": -observation.heard.zeros}

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
