"""Who is taken: the lowest of a layer or of the network, and never a whole layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regrow._shapes import Mask, Scores


def share_of(fraction: float, count: int) -> int:
    """A share of so many units, rounded down, but for what floating point has lost: 0.29 of 100 is 29."""
    return math.floor(fraction * count + 1e-9)


def spare_best(mask: Mask, scores: Scores) -> Mask:
    """Take the best filter out of a mask that would renew a whole layer.

    Args:
        mask: (*S, O).
        scores: (*S, O), of the same filters.

    Returns:
        `mask`, except that where all O filters of a layer are marked, the one with the highest score
        (the first of equals) is not.

    Edge cases:
        A layer of one filter is never renewed.

    Examples:
        >>> spare_best(torch.tensor([True, True]), torch.tensor([0.0, 0.5]))
        tensor([ True, False])
    """
    count = mask.shape[-1]
    # `argmax` takes nan for the largest: the filter that is spared would be the broken one.
    best = scores.nan_to_num(nan=-torch.inf).argmax(-1, keepdim=True)
    position = torch.arange(count, device=mask.device)
    return mask & ~(mask.all(-1, keepdim=True) & (position == best))


def lowest(scores: Scores, *, count: Tensor | int) -> Mask:
    """The filters with the lowest scores, a fixed number a layer.

    Args:
        scores: (*S, O). Read, never written.
        count: How many, a number or an int64 tensor (*S,).

    Returns:
        Mask, (*S, O), with `count` True entries; equal scores are taken in the order of their index.

    Edge cases:
        A count above O marks all, a count of 0 none.

    Examples:
        >>> lowest(torch.tensor([0.3, 0.1, 0.2, 0.1]), count=2)
        tensor([False,  True, False,  True])
    """
    # Sorted twice, an order becomes ranks. Stable, so that equal scores are taken alike on every device and rank.
    rank = scores.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    limit = count.unsqueeze(-1) if isinstance(count, Tensor) else count
    return rank < limit


def lowest_among(scores: Scores, *, may: Mask, count: Tensor | int) -> Mask:
    """`lowest` of those that may be taken."""
    return may & lowest(scores.where(may, torch.inf), count=count)


def lowest_of_all(
    scores: Sequence[Tensor],
    *,
    count: int,
    eligible: Sequence[Tensor],
    most: Sequence[int] | None = None,
) -> list[Tensor]:
    """The filters with the lowest scores of a whole network, without ever taking a whole layer.

    Args:
        scores: One (O,) a layer.
        count: How many in all.
        eligible: One (O,) a layer: who may be taken.
        most: The largest number that may be taken from each layer; by default all but one of it.

    Returns:
        One mask (O,) a layer. Equal scores are taken in the order of layer and index.

    Edge cases:
        Scores that are not numbers are never taken. Fewer than `count` can be taken: those.

    Examples:
        >>> ok = torch.ones(2, dtype=torch.bool)
        >>> lowest_of_all([torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.9])], count=2, eligible=[ok, ok])
        [tensor([ True, False]), tensor([ True, False])]
    """
    limits = [len(values) - 1 for values in scores]
    if most is not None:
        limits = [min(each) for each in zip(limits, most, strict=True)]
    taken: list[Tensor] = []
    for values, allowed, limit in zip(scores, eligible, limits, strict=True):
        may = allowed.to(values.device) & values.isfinite()
        # First the limit of each layer, then the count over all. The other way round a layer of bad filters would use
        # up the count, be cut down to its limit, and fewer than asked for would be taken.
        taken.append(lowest_among(values, may=may, count=limit))
    # Layers may be on several devices and in several precisions; float64 keeps the order of all of them.
    flat = torch.cat([values.to("cpu", torch.float64) for values in scores])
    may = torch.cat([mask.cpu() for mask in taken])
    chosen = lowest_among(flat, may=may, count=count)
    parts = chosen.split([len(values) for values in scores])
    return [part.to(values.device) for part, values in zip(parts, scores, strict=True)]
