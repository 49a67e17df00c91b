"""Output gradient: GraMa by what a layer gives, behind its activation or in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from regrow._checks import check_choice
from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.criteria.relative_activity import relative_activity


@final
@dataclass(frozen=True, kw_only=True)
class OutputGradient(Momentary):
    """The mean size of each example's derivative by what a unit gives, measured by the mean of its layer.

        size(u) = mean over examples n and positions of |dL_n / dx_u|,    score(u) = size(u) / mean over the layer
        activation:     x is what the unit's readers take of it, behind norm, activation and pooling
        preactivation:  x is what its layer gives, in front of them

    The two disagree where it matters. A ReLU unit that is silent on all examples has a ``preactivation`` score of
    exactly 0; its ``activation`` score is that of any other unit, for its readers go on asking for what it cannot give.
    The third definition, `RelativeGradient`, takes the unit's weights, and sees such a unit too.

    Args:
        where: ``preactivation`` or ``activation``.

    Raises:
        ConfigError: Another one.

    Edge cases:
        It is measured on calibration data, in evaluation mode, with gradients that are taken for it alone. In a layer
        that no gradient reaches all score 1. A unit whose readers' weights are 0 scores 0 by both, dead or not.

    Source:
        Liu et al., NeurIPS 2025, arXiv 2505.24061, equation 2 (activation); AgileRL's ReGraMa (preactivation).
    """

    where: Literal["preactivation", "activation"] = "preactivation"

    def __post_init__(self) -> None:
        known = ("preactivation", "activation")
        check_choice(self.where, known, name="where", where="output gradient")

    @property
    def needs(self) -> frozenset[Signal]:
        """Derivatives at the one place or the other."""
        if self.where == "activation":
            return frozenset({Signal.OUTPUT_GRADIENTS})
        return frozenset({Signal.PREACTIVATION_GRADIENTS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The sizes by their mean."""
        behind, front = observation.output_gradient, observation.preactivation_gradient
        size = behind if self.where == "activation" else front
        return None if size is None else relative_activity(size)
