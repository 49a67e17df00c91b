"""The Hessian's diagonal, as the empirical Fisher gives it: filters whose gate curves the loss little score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import CriterionState, Observation, Signal
from regrow.functional.importance import layer_scaled


@final
@dataclass(frozen=True, kw_only=True)
class FisherDiagonal:
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

    @property
    def needs(self) -> frozenset[Signal]:
        """What it looks at."""
        return frozenset({Signal.GATES})

    @property
    def scale_invariant(self) -> bool:
        """Whether scores stay when all that is observed is multiplied by a number."""
        return self.rescale

    @property
    def every_step(self) -> bool:
        """Measured when a score is due."""
        return False

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """The mean squares as they were measured.

        Args:
            state: Not used.
            observation: With `gates`.

        Returns:
            The scores; nothing where they could not be measured.
        """
        del state
        if observation.gates is None:
            return {}
        scores = observation.gates.curvature
        return {"scores": layer_scaled(scores) if self.rescale else scores}

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
