"""One reading of a layer from several: of micro-batches, and of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from regrow.activity.readings import PassReading
from regrow.functional.silence import TOLERANCE

ROWS: Final = 9


def row_of(own: PassReading) -> Tensor:
    """What one rank has seen of a layer, as numbers: (rows, O), float64 on the CPU."""
    sums = torch.zeros(4, len(own.seen), device="cpu") if own.sums is None else own.sums
    head = (
        own.seen,
        own.silent,
        own.starved,
        own.constant,
        torch.full_like(own.constant, own.examples),
    )
    return torch.cat((torch.stack([each.double().cpu() for each in head]), sums.double().cpu()))


def together(ranks: Tensor, *, like: Tensor) -> PassReading:
    """One reading from the rows of all ranks, (R, rows, O): silent is who was so on each, with the same value."""
    seen = ranks[:, 0].bool()
    where = torch.where(seen, ranks[:, 3], torch.nan)
    low, high = where.nan_to_num(torch.inf).amin(0), where.nan_to_num(-torch.inf).amax(0)
    size = torch.maximum(low.abs(), high.abs()).where(seen.any(0), 0.0).amax()
    silent = (ranks[:, 1].bool() | ~seen).all(0) & (high - low <= TOLERANCE * size)
    return PassReading(
        seen=seen.any(0).to(like.device),
        silent=(silent & seen.any(0)).to(like.device),
        constant=low.to(like.device),
        starved=(ranks[:, 2].bool() | ~seen).all(0).to(like.device),
        examples=int(ranks[:, 4].amax(1).sum()),
        sums=ranks[:, 5:].sum(0).to(like.device),
    )


def over_passes(readings: Sequence[PassReading]) -> PassReading:
    """Micro-batches of one step: silent is who was silent in each in which it was seen."""
    if len(readings) == 1:
        return readings[0]
    seen = torch.stack([each.seen for each in readings])
    sums = [each.sums for each in readings if each.sums is not None]
    return PassReading(
        seen=seen.any(0),
        silent=(torch.stack([each.silent for each in readings]) | ~seen).all(0) & seen.any(0),
        constant=readings[-1].constant,
        starved=(torch.stack([each.starved for each in readings]) | ~seen).all(0),
        examples=sum(each.examples for each in readings),
        sums=torch.stack(sums).sum(0) if sums else None,
        strange=all(each.strange for each in readings),
    )


def means(sums: Tensor | None) -> dict[str, Tensor]:
    """A `LayerActivity`'s means from sums; nothing where there are none."""
    if sums is None:
        return {}
    total, size, positive, values = sums
    return {"mean": total / values, "size": size / values, "positive": positive / values}
