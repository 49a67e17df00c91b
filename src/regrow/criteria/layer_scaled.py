"""A layer's scores, so that layers can be ranked together."""

from __future__ import annotations

import torch

from regrow._shapes import Scores


def layer_scaled(scores: Scores) -> Scores:
    """A layer's scores divided by their length, so that layers can be ranked together.

        scaled[o] = score[o] / sqrt(sum over o of score[o]^2)

    Args:
        scores: (*S, O), of one layer.

    Returns:
        (*S, O).

    Edge cases:
        Where all scores are 0 they stay 0.

    Source:
        Molchanov et al. 2017 (as `mean_activation`), Section 2.2, "Normalization".

    Examples:
        >>> layer_scaled(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """
    # Squares of small scores (a Fisher of 1e-25, say) leave float32's range.
    largest = scores.abs().amax(-1, keepdim=True)
    shares = scores / torch.where(largest > 0, largest, 1.0)
    length = torch.linalg.vector_norm(shares, dim=-1, keepdim=True)
    return shares / torch.where(length > 0, length, 1.0)
