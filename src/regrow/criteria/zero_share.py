"""APoZ: filters that are silent most of the time score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary


def zero_share(heard: Float[Tensor, "*S O M"]) -> Scores:
    """The share of zeros in what the network hears of each filter: APoZ.

        score[o] = number of m with x[o, m] = 0 / M

    Args:
        heard: What the network hears of each filter, (*S, O, M): M numbers, over examples and positions.

    Returns:
        (*S, O), within [0, 1], in float32 or wider: high = silent.

    Edge cases:
        Exact zeros are counted, as a ReLU makes them. Behind activations that are negative, "at most 0" would call
        silent what the network hears well.

    Source:
        Hu et al., "Network Trimming: A Data-Driven Neuron Pruning Approach towards Efficient Deep Architectures", 2016.

    Examples:
        >>> zero_share(torch.tensor([[0.0, 4.0], [-1.0, 1.0]]))
        tensor([0.5000, 0.0000])
    """
    return (heard == 0).to(torch.promote_types(heard.dtype, torch.float32)).mean(-1)


@final
@dataclass(frozen=True, kw_only=True)
class ZeroShare(Momentary):
    """Minus `regrow.functional.zero_share` (APoZ) at the inputs of the filter's readers.

    Edge cases:
        Behind max pooling that is the share of windows without any activation, which is less than the share of zeros in
        front of it. Behind an activation that gives no zeros (GELU, sigmoid) all filters score 0 alike.

    Source:
        The ranking "APoZ" of Prakash et al. 2019, Section 5.
    """

    needs = frozenset({Signal.ACTIVATIONS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The shares as they were measured."""
        return None if observation.heard is None else -observation.heard.zeros
