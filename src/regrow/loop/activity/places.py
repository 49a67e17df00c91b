"""What filters give place by place, where a reader hears one of them in several: sums in, means by filter out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

Order = Tensor | tuple[slice, None] | None
"""What makes (O, P) of the places of an outlet; None: units have different numbers of them."""

_IN_ORDER: Final = (slice(None), None)

Placed = tuple[tuple[Tensor | None, int], ...]
"""Of each outlet the sum at each of its places, and of how many values each is; None and 0 where nothing came."""


def row_of(placed: Placed, lengths: Sequence[int]) -> Tensor:
    """What one rank has seen place by place, as numbers: of each outlet its sums, and how many values each is of."""
    found: list[Tensor] = []
    for length, (sums, given) in zip(lengths, placed or [(None, 0)] * len(lengths), strict=True):
        row = torch.zeros(length + 1, dtype=torch.float64, device="cpu")
        if sums is not None:
            row[:-1], row[-1] = sums.cpu(), given
        found.append(row)
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64, device="cpu")


def placed_of(row: Tensor, lengths: Sequence[int], *, like: Tensor) -> Placed:
    """The other way round, of a sum of such rows."""
    parts = row.split([length + 1 for length in lengths])
    return tuple(
        (part[:-1].to(like.device), int(part[-1])) if part[-1] else (None, 0) for part in parts
    )


def by_unit(units: Sequence[int], count: int) -> Order:
    """Where the places of each unit are, (O, P), in their order; None where units have different numbers of them."""
    if tuple(units) == tuple(range(count)):
        return _IN_ORDER  # as behind nearly every layer: nothing has to be gathered
    places: list[list[int]] = [[] for _ in range(count)]
    for place, unit in enumerate(units):
        if unit >= 0:
            places[unit].append(place)
    if len({len(each) for each in places}) != 1 or not places[0]:
        return None
    return torch.tensor(places, dtype=torch.int64, device="cpu")


def means_of(placed: Placed, orders: Sequence[Order]) -> tuple[Tensor | None, ...]:
    """The mean at each place, by outlet and unit."""
    if not placed:
        return ()
    return tuple(
        None
        if sums is None or order is None or not given
        else (sums / given)[order.to(sums.device) if isinstance(order, Tensor) else order]
        for (sums, given), order in zip(placed, orders, strict=True)
    )


def together(
    several: Sequence[Placed],
) -> Placed:
    """Sums by place over micro-batches."""
    found: list[tuple[Tensor | None, int]] = []
    for outlet in zip(*several, strict=True):
        sums = [each for each, _ in outlet if each is not None]
        found.append(
            (torch.stack(sums).sum(0) if sums else None, sum(given for _, given in outlet))
        )
    return tuple(found)
