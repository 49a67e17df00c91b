"""Scores from what units give in the training's own passes."""

from __future__ import annotations

import torch

from regrow._shapes import Scores


def relative_activity(size: Scores) -> Scores:
    """How much each unit gives, measured by the mean of its layer.

        score[o] = size[o] / mean over o' of size[o'],    size[o] = mean over examples and positions of |h_o|

    Args:
        size: Mean of the absolute values of what each unit gives, (*S, O). Read, never written.

    Returns:
        (*S, O), in float32 or wider. Its mean over a layer is 1.

    Edge cases:
        nan says that nothing is known of a unit: its score is nan, and the mean is taken over the others. In a layer
        whose mean is 0 nobody gives anything, and nobody is less than the rest: all score 1. Where the mean is not
        finite no score is a number.

    Source:
        Sokar, Agarwal, Castro, Evci, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", ICML 2023,
        Equation 1. The released code adds 1e-9 to the mean.

    Examples:
        >>> relative_activity(torch.tensor([0.0, 1.0, 3.0]))
        tensor([0.0000, 0.7500, 2.2500])
        >>> relative_activity(torch.zeros(2))
        tensor([1., 1.])
    """
    wide = size.to(torch.promote_types(size.dtype, torch.float32))
    mean = wide.nanmean(-1, keepdim=True)
    shares = torch.where(mean.isfinite(), wide / mean, torch.nan)  # a share of infinity would be 0
    return torch.where((mean == 0) & ~wide.isnan(), 1.0, shares)
