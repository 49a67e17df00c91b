"""How many weights lie above each of a few edges: exact, and fast for layers of millions."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

import torch
from torch import Tensor

_FLAGGED: Final = 1 << 15
"""Weights that are compared in one go; few enough for float32 to count them."""

_LARGE: Final = 1 << 17
"""Weights from which a bin for each is faster than comparing them with each edge."""

_PIECE: Final = 1 << 18
"""Weights whose bins are worked out in one go: a megabyte in float32."""

_MOST: Final = 1e-4
"""Slack, in widths of a bin, above which too many weights would be looked at twice."""

_ROW: Final = 1 << 8
"""Weights that are counted anew together where one of them may be in the wrong bin."""


def at_least(weights: Tensor, *, low: float, high: float, bins: int) -> list[float]:
    """How many weights are not below each inner edge of bins of equal width, as float64 has the edges: n_1 to n_(B-1).

        n_k = |{w : w >= low + k (high - low) / B}|,   k = 1 ... B - 1

    The weights, (N,), are all finite, in float32 or less; `low` is the smallest of them, `high` the largest, above it.
    """
    width = (high - low) / bins
    edges = [low + k * width for k in range(1, bins)]
    # What rounding can do to a weight's place, in bins: half a last digit of the start, of the factor and of the
    # product, each as large as the ends are in bins, and of their sum, up to B + 2.
    slack = 2.0**-24 * (3.0 * max(abs(low), abs(high)) / width + bins + 2.0)
    fast = weights.dtype == torch.float32 and weights.device.type == "cpu"
    # Four digits in 16 bits, and nothing that is too large or too small for float32.
    fits = (bins + 1) ** 4 <= 1 << 15 and slack < _MOST and 1e-30 < width < 1e30
    if not (fast and fits) or len(weights) < _LARGE:
        return _compared(weights, _rounded_up(edges).to(weights.device))
    return _by_bins(weights, edges, start=low / width, width=width, slack=slack)


def _rounded_up(exact: list[float]) -> Tensor:
    """The first float32 that is not below each edge: comparing with it is comparing in float64."""
    wide = torch.tensor(exact, dtype=torch.float64, device="cpu")
    edges = wide.to(torch.float32)
    beyond = edges.nextafter(torch.tensor(torch.inf, dtype=torch.float32, device="cpu"))
    return torch.where(edges.to(torch.float64) < wide, beyond, edges)


def _compared(weights: Tensor, edges: Tensor) -> list[float]:
    """By comparing all weights with each edge."""
    length = weights.numel() if weights.device.type != "cpu" else min(_FLAGGED, weights.numel())
    parts, several = weights.split(length), len(edges)
    # Flags as numbers, in memory that is used again: torch compares to bool one by one.
    flags = torch.empty(several, length, dtype=torch.float32, device=weights.device)
    rest = parts[-1].numel()
    last = flags.view(-1)[: several * rest].view(several, rest)
    sums = torch.empty(len(parts), several, dtype=torch.float32, device=weights.device)
    for index, (part, found) in enumerate(zip(parts, sums.unbind(), strict=True)):
        room = flags if index + 1 < len(parts) else last
        torch.ge(part.to(torch.float32), edges[:, None], out=room)
        torch.sum(room, 1, out=found)
    counts: list[float] = sums.sum(0, dtype=torch.float64).tolist()
    return counts


def _by_bins(
    weights: Tensor, edges: list[float], *, start: float, width: float, slack: float
) -> list[float]:
    """By each weight's bin, worked out in float32; weights too near to an edge for that are looked up in float64.

    With the slack, rounding never puts a weight below its bin. It may put it into the next one, and then what lies
    behind the point is less than twice the slack.
    """
    base, columns = len(edges) + 2, len(weights) // (4 * _ROW) * _ROW
    body, rest = weights[: 4 * columns], weights[4 * columns :]
    indices = torch.empty(4 * columns, dtype=torch.int16, device="cpu")
    nearest = torch.empty(4 * columns // _ROW, dtype=torch.float32, device="cpu")
    room = torch.empty(min(_PIECE, len(body)), dtype=torch.float32, device="cpu")
    # Added to every weight once, here: errors of both signs become errors of one sign, which the part behind the point
    # shows.
    offset = torch.tensor(slack - start, dtype=torch.float32, device="cpu")
    parts = zip(
        body.split(_PIECE), indices.split(_PIECE), nearest.split(_PIECE // _ROW), strict=True
    )
    for part, index, near in parts:
        place = room[: len(part)]
        torch.add(offset, part, alpha=1.0 / width, out=place)
        # The cast rounds towards 0, and every place is above 0 by the slack.
        index.copy_(place)
        # One number for 256 weights: to note each doubtful weight would be as much to write as the weights are to read.
        torch.amin(torch.frac(place, out=place).view(-1, _ROW), 1, out=near)
    counts = _fours_counted(indices.view(4, columns), base=base)
    doubtful = (nearest < 2.0 * slack).nonzero().view(-1)
    again = torch.cat([body.view(-1, _ROW)[doubtful].view(-1), rest]).to(torch.float64)
    right = torch.bucketize(
        again, torch.tensor(edges, dtype=torch.float64, device="cpu"), right=True
    )
    counts += torch.bincount(right, minlength=base)
    # What was counted of the doubtful rows is taken back whole, right or wrong.
    counts -= torch.bincount(indices.view(-1, _ROW)[doubtful].view(-1), minlength=base)
    # The largest weight came out above the last bin.
    return list(accumulate(map(float, counts[1:].tolist()[::-1])))[:0:-1]


def _fours_counted(indices: Tensor, *, base: int) -> Tensor:
    """How often each number below the base occurs in (4, N): four are counted as one, by its four digits."""
    pairs = torch.add(indices[:2], indices[2:], alpha=base)
    # Counting is one write to memory a number, at places that nobody can foresee: four digits in one number are a
    # quarter of the writes, and the table of base^4 counts still fits the cache (see `fits`).
    found = torch.bincount(torch.add(pairs[0], pairs[1], alpha=base**2), minlength=base**4)
    square = found.view(base**2, base**2)
    both = (square.sum(0) + square.sum(1)).view(base, base)
    return both.sum(0) + both.sum(1)
