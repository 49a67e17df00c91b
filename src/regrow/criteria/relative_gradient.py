"""Relative gradient: ReGraMa's criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.functional.gradient import relative_gradient


@final
@dataclass(frozen=True, kw_only=True)
class RelativeGradient(Momentary):
    """The size of a unit's gradient in the step at which a score is due, measured by the mean of its layer.

    See `regrow.functional.relative_gradient`.

    Edge cases:
        A layer without a gradient in that step has no score.

    Source:
        Liu et al., NeurIPS 2025, arXiv 2505.24061, as released.
    """

    needs = frozenset({Signal.GRADIENTS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The sizes by their mean.

        Args:
            observation: With `grad`.

        Returns:
            (*S, O); None where no gradient came.
        """
        return None if observation.grad is None else relative_gradient(observation.grad)
