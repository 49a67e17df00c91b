"""Weight norm: filters with small weights score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Scores
from regrow.criteria.base import CriterionState, Observation, Signal


@final
@dataclass(frozen=True, kw_only=True)
class WeightNorm:
    """The l2 norm of a filter's weights, divided by the root of their number, so that layers can be ranked together.

        score(f) = |w_f| / sqrt(F)

    Source:
        The ranking "Weights" of Prakash et al. 2019, Section 5; the paper does not say how layers are put on one scale.
    """

    @property
    def needs(self) -> frozenset[Signal]:
        """What it looks at."""
        return frozenset({Signal.WEIGHTS})

    @property
    def scale_invariant(self) -> bool:
        """Whether scores stay when all that is observed is multiplied by a number."""
        return False

    @property
    def every_step(self) -> bool:
        """Weights are looked at when a score is due."""
        return False

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Score the weights as they are.

        Args:
            state: Not used.
            observation: With the weights.

        Returns:
            The scores.
        """
        del state
        weight = observation.weight
        if weight is None:
            return {}
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        return {"scores": torch.linalg.vector_norm(wide, dim=-1) / wide.shape[-1] ** 0.5}

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
            Nothing to remember, and the scores, (*S, O).
        """
        del layer, count, step, seed
        return {}, state.get("scores")
