"""Mean activation: filters that say little score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.layer_scaled import layer_scaled
from regrow.criteria.momentary import Momentary


def mean_activation(heard: Float[Tensor, "*S O M"]) -> Scores:
    """The mean size of what the network hears of each filter.

        score[o] = sum over m of |x[o, m]| / M

    Args:
        heard: What the network hears of each filter, (*S, O, M): M numbers, over examples and positions.

    Returns:
        (*S, O), at least 0, in float32 or wider.

    Source:
        Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, Section
        2.2 ("Activation"). Differs: theirs is the plain mean, of ReLU's outputs, where it is the same; the absolute
        value keeps the meaning where an activation is negative.

    Examples:
        >>> mean_activation(torch.tensor([[0.0, 4.0], [-1.0, 1.0]]))
        tensor([2., 1.])
    """
    wide = heard.to(torch.promote_types(heard.dtype, torch.float32))
    return wide.abs().mean(-1)


@final
@dataclass(frozen=True, kw_only=True)
class MeanActivation(Momentary):
    """`regrow.functional.mean_activation` on calibration data.

    It is measured at the inputs of the filter's readers, behind norm, activation and pooling; where the filter shares
    its channel with others (on a residual stream), at the last place where it is alone.

    Args:
        rescale: Divide a layer's scores by their length, so that layers with large activations are not preferred.

    Source:
        The ranking "Activations" of Prakash et al. 2019, Section 5.
    """

    rescale: bool = False

    needs = frozenset({Signal.ACTIVATIONS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The activations as they were measured."""
        if observation.heard is None:
            return None
        scores = observation.heard.activation
        return layer_scaled(scores) if self.rescale else scores
