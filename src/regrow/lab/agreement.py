"""How far two scores of the same filters agree: by their values and by their order."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import Scores


def value_correlation(a: Scores, b: Scores) -> Float[Tensor, "*S"]:
    """Pearson's correlation of two scores of the same filters.

        r = sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)^2 * sum (b - mean b)^2)

    Args:
        a: Scores, (*S, O).
        b: Scores of the same filters, (*S, O).

    Returns:
        Between -1 and 1, (*S,), in float64.

    Edge cases:
        ``nan`` where all scores of one side are equal (one filter alone included), or one is not finite.

    Examples:
        >>> value_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])).item()
        1.0
    """
    first, second = _centred(a.double()), _centred(b.double())
    lengths = first.square().sum(-1) * second.square().sum(-1)
    return ((first * second).sum(-1) / lengths.sqrt()).clamp(-1.0, 1.0)


def rank_correlation(a: Scores, b: Scores) -> Float[Tensor, "*S"]:
    """Spearman's correlation of two scores of the same filters: Pearson's of their ranks.

    What a ranking picks depends on the order of its scores alone, so this is what two rankings have in common.

    Args:
        a: Scores, (*S, O).
        b: Scores of the same filters, (*S, O).

    Returns:
        Between -1 (the other way round) and 1 (the same order), (*S,), in float64.

    Edge cases:
        Filters with equal scores share the mean of their ranks. ``nan`` where all scores of one side are equal (one
        filter alone included), or one is nan. Infinite scores have a rank.

    Source:
        Spearman, "The proof and measurement of association between two things", 1904.

    Examples:
        >>> rank_correlation(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([5.0, 6.0, 7.0])).item()
        1.0
    """
    return value_correlation(_ranks(a), _ranks(b))


def _centred(scores: Float[Tensor, "*S O"]) -> Float[Tensor, "*S O"]:
    """Minus their mean, the largest 1 or -1; nan where they are all equal."""
    # Equal numbers need not have a mean that is equal to them.
    constant = (scores == scores[..., :1]).all(-1, keepdim=True)
    around = scores - scores.mean(-1, keepdim=True)
    # Squares of very small or very large scores leave float64's range.
    return torch.where(constant, torch.nan, around / around.abs().amax(-1, keepdim=True))


def _ranks(scores: Scores) -> Float[Tensor, "*S O"]:
    """1 for the lowest; equal ones share the mean of their ranks."""
    ordered = scores.sort(dim=-1).values.contiguous()
    values = scores.contiguous()
    # Equal ones fill the ranks from `below` + 1 to `up_to`: their mean. In the order of a sort they would have
    # different ranks, and two scores with many zeros would seem to disagree.
    below = torch.searchsorted(ordered, values)
    up_to = torch.searchsorted(ordered, values, right=True)
    return torch.where(scores.isnan(), torch.nan, (below + up_to + 1).double() / 2)
