"""Silences of units: how unusual one is beside a unit's own past ones, and how long it may last."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from regrow._shapes import Scores


def silence_share(silence: Int[Tensor, "*S O"], *, past: Int[Tensor, "*S O W"]) -> Scores:
    """The share of a unit's own silences that lasted at least as long as its present one.

    What is a long silence for one unit is an everyday one for another, so each is measured by itself.

        share[o] = (1 + number of k with past[o, k] >= silence[o]) / (1 + number of k with past[o, k] >= 0)

    The present silence counts as one of them: if it comes from the same law as the others, the share is at most x in no
    more than a part x of all silences, however short the history. A unit with n past silences cannot score below
    1 / (n + 1), so that nobody is judged by next to no history.

    Args:
        silence: How long each unit has been silent, in steps, (*S, O). Read, never written.
        past: How long its past silences lasted, (*S, O, W), in any order; -1 where there are fewer of them.

    Returns:
        (*S, O) within (0, 1], in float64; low = it has never been silent for so long.

    Edge cases:
        Without any history: 1.

    Source:
        Farias, Jozefiak, "Self-Normalized Resets for Plasticity in Continual Learning", ICLR 2025, arXiv 2410.20098:
        a unit is reset when P(A >= a) <= eta, A its own inter-firing time. Differs: the estimate counts the present
        silence too, as in Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005.

    Examples:
        >>> past = torch.tensor([[0, 0, 0], [2, 9, -1]])
        >>> silence_share(torch.tensor([5, 5]), past=past)
        tensor([0.2500, 0.6667], dtype=torch.float64)
    """
    longer = (past >= silence.unsqueeze(-1)).sum(-1)
    return (1 + longer).double() / (1 + (past >= 0).sum(-1)).double()


def silence_limit(
    counts: Int[Tensor, "*S O B"],
    *,
    limit: Int[Tensor, "*S O"],
    percentile: float,
    growth: float,
    least: int,
    most: int,
) -> Int[Tensor, "*S O"]:
    """How long each unit may be silent from here on, after a period in which its silences were counted.

        q[o]     = the smallest length within which a share `percentile` of its silences ended
        limit[o] <- q[o]  if q[o] < limit[o],  else  growth * limit[o];   then within [least, most]

    A unit that is silent for longer is reset, so that nothing longer is ever seen: therefore the limit grows where
    silences fill it.

    Args:
        counts: Silences of the period by their length, (*S, O, B): 0 steps, 1 step, ... Read, never written.
        limit: The limits so far, in steps, (*S, O).
        percentile: Within (0, 1].
        growth: Above 1.
        least: The smallest limit, in steps.
        most: The largest.

    Returns:
        (*S, O), the type of `limit`.

    Edge cases:
        A unit without a silence that has ended keeps its limit.

    Source:
        As `silence_share`; this is how the released code updates its thresholds.

    Examples:
        >>> counts = torch.tensor([[0, 8, 1, 1, 0], [0, 0, 0, 0, 5]])
        >>> silence_limit(counts, limit=torch.tensor([4, 4]), percentile=0.9, growth=2.0, least=1, most=20)
        tensor([2, 8])
    """
    total = counts.sum(-1, keepdim=True)
    # Shares would round: 0.9 of ten is nine.
    short = counts.cumsum(-1) < (percentile * total.double()).mul(1 - 1e-12)
    q = short.sum(-1)
    grown = (limit * growth).to(limit.dtype)
    found = torch.where(q < limit, q, grown).where(total.squeeze(-1) > 0, limit)
    return found.to(limit.dtype).clamp(least, most)
