"""APoZ: filters that are silent most of the time score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary


@final
@dataclass(frozen=True, kw_only=True)
class ZeroShare(Momentary):
    """Minus the share of zeros in what the network hears of a filter (APoZ): see `regrow.functional.zero_share`.

    Edge cases:
        Exact zeros are counted, at the inputs of the filter's readers. Behind max pooling that is the share of windows
        without any activation, which is less than the share of zeros in front of it. Behind an activation that gives
        no zeros (GELU, sigmoid) all filters score 0 alike.

    Source:
        Hu et al., "Network Trimming", 2016; the ranking "APoZ" of Prakash et al. 2019, Section 5.
    """

    needs = frozenset({Signal.ACTIVATIONS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The shares as they were measured.

        Args:
            observation: With `heard`.

        Returns:
            (*S, O); None where they could not be measured.
        """
        return None if observation.heard is None else -observation.heard.zeros
