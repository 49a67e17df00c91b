"""Weight norm: filters with small weights score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary


@final
@dataclass(frozen=True, kw_only=True)
class WeightNorm(Momentary):
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

    def scores_of(self, observation: Observation) -> Scores | None:
        """Lengths of the weights as they are.

        Args:
            observation: With the weights.

        Returns:
            (*S, O); None without weights.
        """
        weight = observation.weight
        if weight is None:
            return None
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        return torch.linalg.vector_norm(wide, dim=-1) / wide.shape[-1] ** 0.5
