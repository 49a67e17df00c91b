"""The Hessian's diagonal, as the empirical Fisher gives it: filters whose gate curves the loss little score low."""

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


def fisher_diagonal(slopes: Float[Tensor, "*S N O"]) -> Scores:
    """What silencing each filter adds to the loss, to second order, with the empirical Fisher for the Hessian.

        score[o] = 1/2 sum over n of (dL_n / dg_o)^2 / N,    about 1/2 d^2 L / dg_o^2

    Optimal brain damage's saliency of the gate. The second derivative itself is not computed: for a
    log-likelihood and a model that fits its data, the mean square of the first one is the same.

    Args:
        slopes: For each example the derivative of its loss by a gate that multiplies what the network hears of the
            filter, (*S, N, O).

    Returns:
        (*S, O), at least 0, in float32 or wider.

    Source:
        LeCun, Denker, Solla, "Optimal Brain Damage", 1990 (saliency); "Faster gaze prediction with dense networks and
        Fisher pruning", 2018, arXiv 1801.05787 (empirical Fisher of a gate).

    Examples:
        >>> fisher_diagonal(torch.tensor([[1.0, 0.0], [-3.0, 1.0]]))
        tensor([2.5000, 0.2500])
    """
    wide = slopes.to(torch.promote_types(slopes.dtype, torch.float32))
    return wide.square().mean(-2) / 2


@final
@dataclass(frozen=True, kw_only=True)
class FisherDiagonal(Momentary):
    """`regrow.functional.fisher_diagonal`, with the true targets: near the Hessian only where the model fits them.

    Args:
        rescale: Divide a layer's scores by their length.

    Source:
        The ranking "Hessian" of Prakash et al. 2019, Section 5.
    """

    rescale: bool = False

    needs = frozenset({Signal.GATES})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The mean squares as they were measured."""
        if observation.gates is None:
            return None
        scores = observation.gates.curvature
        return layer_scaled(scores) if self.rescale else scores
