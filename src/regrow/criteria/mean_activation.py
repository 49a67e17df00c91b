"""Mean activation: filters that say little score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.functional.importance import layer_scaled


@final
@dataclass(frozen=True, kw_only=True)
class MeanActivation(Momentary):
    """The mean size of what the network hears of a filter: see `regrow.functional.mean_activation`.

    It is measured at the inputs of the filter's readers, behind norm, activation and pooling; where the filter shares
    its channel with others (on a residual stream), at the last place where it is alone.

    Args:
        rescale: Divide a layer's scores by their length, so that layers with large activations are not preferred.

    Source:
        Molchanov et al. 2017, Section 2.2; the ranking "Activations" of Prakash et al. 2019, Section 5.
    """

    rescale: bool = False

    needs = frozenset({Signal.ACTIVATIONS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The activations as they were measured.

        Args:
            observation: With `heard`.

        Returns:
            (*S, O); None where they could not be measured.
        """
        if observation.heard is None:
            return None
        scores = observation.heard.activation
        return layer_scaled(scores) if self.rescale else scores
