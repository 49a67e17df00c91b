"""First-order Taylor: filters whose absence changes the loss little score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.functional.importance import layer_scaled


@final
@dataclass(frozen=True, kw_only=True)
class Taylor(Momentary):
    """The mean over the examples of |dL_n / dg|, g a gate on what the network hears: see `regrow.functional.taylor`.

    Args:
        rescale: Divide a layer's scores by their length, as Molchanov et al. do.

    Source:
        Molchanov et al. 2017, equation 8; the ranking "Taylor" of Prakash et al. 2019, Section 5.
    """

    rescale: bool = False

    needs = frozenset({Signal.GATES})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The derivatives as they were measured.

        Args:
            observation: With `gates`.

        Returns:
            (*S, O); None where they could not be measured.
        """
        if observation.gates is None:
            return None
        scores = observation.gates.slope
        return layer_scaled(scores) if self.rescale else scores
