"""The Hessian's diagonal, as the empirical Fisher gives it: filters whose gate curves the loss little score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.functional.importance import layer_scaled


@final
@dataclass(frozen=True, kw_only=True)
class FisherDiagonal(Momentary):
    """Half of the mean over the examples of (dL_n / dg)^2: see `regrow.functional.fisher_diagonal`.

    This is the empirical Fisher in the place of the Hessian's diagonal, not the second derivative itself: the true
    targets are used, and it is near the Hessian only where the model fits them.

    Args:
        rescale: Divide a layer's scores by their length.

    Source:
        Optimal brain damage (LeCun et al. 1990) of a filter's gate, as in Fisher pruning (2018, arXiv 1801.05787); the
        ranking "Hessian" of Prakash et al. 2019, Section 5.
    """

    rescale: bool = False

    needs = frozenset({Signal.GATES})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The mean squares as they were measured.

        Args:
            observation: With `gates`.

        Returns:
            (*S, O); None where they could not be measured.
        """
        if observation.gates is None:
            return None
        scores = observation.gates.curvature
        return layer_scaled(scores) if self.rescale else scores
