"""How much information a layer's weights carry, and how many of its filters carry next to none (grafting).

Called by `by_information.py` when networks graft, by `inspect`, and by the laboratory's diagnosis of weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from regrow._shapes import FilterRows
from regrow.weighing.edges import at_least

Weights = Float[Tensor, "*S N"]
"""All numbers of a layer in a row."""

PerLayer = Float[Tensor, "*S"]
"""One number a layer."""

_PIECE: Final = 1 << 17
"""Weights that are looked at in one go: a megabyte in float64."""

_FEW: Final = 16
"""Bins up to which comparing is faster than working out each weight's bin."""


def weight_entropy(weights: Weights, *, bins: int = 10, drop_maximum: bool = False) -> PerLayer:
    """Entropy of the histogram of a layer's weights.

        H = - sum over bins b of p_b ln(p_b),   p_b = share of the weights in bin b

    with B bins of equal width between the smallest and the largest weight.

    Args:
        weights: (*S, N).
        bins: B, at least 1.
        drop_maximum: Bins that are open above, as in the released code: the largest weight falls out of the last one,
            unless rounding puts the edge above it, as it does there; the shares are still of all N.

    Returns:
        (*S,), natural logarithm, within [0, ln B], in float64.

    Edge cases:
        Weights that are all equal: 0. A weight that is not a number: nan.

    Source:
        Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Section 3.3, equation 4; B = 10 is in the
        released code alone.

    Examples:
        >>> weight_entropy(torch.tensor([0.0, 0.0, 1.0, 1.0]), bins=2)
        tensor(0.6931, dtype=torch.float64)
        >>> weight_entropy(torch.ones(7))
        tensor(0., dtype=torch.float64)
    """
    seen = weights.detach()
    if seen.shape[-1] == 0:
        return torch.zeros(seen.shape[:-1], dtype=torch.float64, device=seen.device)
    wide = torch.promote_types(seen.dtype, torch.float32)
    if math.prod(seen.shape[:-1]) == 1 and bins <= _FEW and wide == torch.float32:
        one = _entropy_of_row(seen.reshape(-1), bins=bins, drop_maximum=drop_maximum)
        return torch.full(seen.shape[:-1], one, dtype=torch.float64, device=seen.device)
    low, high = (edge.to(torch.float64) for edge in torch.aminmax(seen, dim=-1))
    finite = (high - low).isfinite()
    if not bool(finite.all()):
        seen = seen.where(finite[..., None], 0.0)
        low, high = low.where(finite, 0.0), high.where(finite, 0.0)
    counts = _counts(seen, low, high, bins=bins)
    if drop_maximum:
        # Rounded up, the edge keeps the maximum in.
        top = _top(low.to(seen.dtype), high.to(seen.dtype), bins=bins)
        beyond = torch.count_nonzero(seen >= top[..., None], dim=-1)
        counts[..., -1] -= beyond.where(high > low, 0)
    share = counts / seen.shape[-1]
    entropy = -torch.special.xlogy(share, share).sum(-1)
    return torch.where(finite, entropy.abs(), torch.nan)


def _counts(weights: Weights, low: PerLayer, high: PerLayer, *, bins: int) -> Tensor:
    """How many weights lie in each bin, (*S, B): in pieces that stay in a processor's cache, for layers of millions."""
    rows = weights.reshape(-1, weights.shape[-1])
    width = ((high - low) / bins).reshape(-1, 1)
    width, start = width.where(width > 0, 1.0), low.reshape(-1, 1)
    # In memory that is used again: fresh memory costs more than the arithmetic.
    length = min(_PIECE, rows.shape[1]) if rows.device.type == "cpu" else rows.shape[1]
    several = min(len(rows), max(1, _PIECE // length)) if rows.device.type == "cpu" else len(rows)
    # One row of few bins needs a byte a weight.
    kind = torch.uint8 if several == 1 and bins < 255 else torch.int64
    places = torch.empty(several * length, dtype=torch.float64, device=rows.device)
    indices = torch.empty_like(places, dtype=kind)
    counts = torch.zeros(len(rows), bins + 1, dtype=torch.int64, device=rows.device)
    for first in range(0, len(rows), several):
        found = counts[first : first + several]
        edges = (start[first : first + several], width[first : first + several])
        if len(found) == 1:  # numbers instead of tensors that are spread out: three times as fast
            edges = (edges[0].reshape(()), edges[1].reshape(()))
        offset = (bins + 1) * torch.arange(len(found), device=rows.device)[:, None]
        for part in rows[first : first + several].split(length, dim=1):
            # Never negative, so that the cast rounds down.
            place = places[: part.numel()].view(part.shape)
            place.copy_(part).sub_(edges[0]).div_(edges[1])
            index = indices[: part.numel()].view(part.shape).copy_(place)
            flat = (index if several == 1 else index.add_(offset)).view(-1)
            found += torch.bincount(flat, minlength=found.numel()).view(found.shape)
    # The largest weight came out as bin B.
    counts[:, bins - 1] += counts[:, bins]
    return counts[:, :bins].to(torch.float64).reshape(*weights.shape[:-1], bins)


def _entropy_of_row(weights: Tensor, *, bins: int, drop_maximum: bool) -> float:
    """The same for one layer in float32 or less: by comparing all weights with each edge, without a bin for each.

    Twice as fast for few bins: comparisons of float32 are what a processor does most of at once.
    """
    low, high = torch.stack(torch.aminmax(weights)).tolist()
    if not math.isfinite(high - low):
        return math.nan
    if low == high:
        return 0.0
    above = [weights.numel(), *at_least(weights, low=low, high=high, bins=bins), 0.0]
    counts = [more - fewer for more, fewer in pairwise(above)]
    if drop_maximum:
        top = _top(*torch.aminmax(weights), bins=bins)
        counts[-1] -= float(torch.count_nonzero(weights >= top))
    return abs(sum(n / above[0] * math.log(n / above[0]) for n in counts if n))


def _top(low: Tensor, high: Tensor, *, bins: int) -> Tensor:
    """The upper edge of the last bin, in the weights' own precision, as the released code works it out."""
    return low + (high - low) / bins * bins


def filter_entropies(
    filters: FilterRows, *, bins: int = 10, drop_maximum: bool = False
) -> PerLayer:
    """Sum of the entropies of a layer's filters, each with a histogram of its own.

    Args:
        filters: (*S, O, F).
        bins: As in `weight_entropy`.
        drop_maximum: As in `weight_entropy`.

    Returns:
        (*S,), in float64.

    Source:
        Meng et al. 2020, Section 3.3, where it is rejected: it knows nothing of how filters of a layer differ.

    Examples:
        >>> filter_entropies(torch.tensor([[0.0, 1.0], [3.0, 3.0]]), bins=2)
        tensor(0.6931, dtype=torch.float64)
    """
    return weight_entropy(filters, bins=bins, drop_maximum=drop_maximum).sum(-1)


def weight_l1(weights: Weights) -> PerLayer:
    """Sum of the absolute values of a layer's weights.

        |W|_1 = sum over i of |w_i|

    Args:
        weights: (*S, N).

    Returns:
        (*S,), in float64.

    Source:
        Meng et al. 2020, Section 3.3: the other measure of a layer's information, in the place of the entropy.

    Examples:
        >>> weight_l1(torch.tensor([1.0, -2.0]))
        tensor(3., dtype=torch.float64)
    """
    return weights.abs().sum(-1, dtype=torch.float64)


def invalid_shares(
    filters: FilterRows, *, thresholds: Sequence[float] = (1.0, 0.1, 0.01, 0.001)
) -> Tensor:
    """Share of a layer's filters whose l1 norm is below a threshold: the paper's count of invalid filters.

        share_t = |{f : |w_f|_1 < t}| / O

    Args:
        filters: (*S, O, F).
        thresholds: The t, any number of them: T.

    Returns:
        (*S, T), in float64.

    Source:
        Meng et al. 2020, Figure 5 and Table 6; the thresholds are theirs.

    Examples:
        >>> invalid_shares(torch.tensor([[1.0, 2.0], [0.02, -0.03]]), thresholds=(1.0, 0.01)).tolist()
        [0.5, 0.0]
    """
    norms = weight_l1(filters)
    return torch.stack([(norms < each).to(torch.float64).mean(-1) for each in thresholds], dim=-1)
