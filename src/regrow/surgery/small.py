"""Small tensors with young entries as one row of numbers: all of them are worked on, and only the young are changed.

To take single entries out of a small tensor takes longer than to work on all of it, and nearly all that a step's
correction costs here is to begin an operation. So the tensors are laid one after the other, old entries with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from regrow.surgery.blocks import Grid, limits, only
from regrow.surgery.bundle import AgeTables, SteppedTensor, same
from regrow.surgery.optimizers.moments import MomentFamily

Small = tuple[SteppedTensor, Grid]
"""A small tensor, and where it is young."""


class SmallTensors:
    """Those of one parameter group: births of entries, kept until somebody is born, and views, until memory moves."""

    def __init__(self) -> None:
        self._grids: list[Grid] = []
        self._starts: list[tuple[int, int]] = []
        self._where: list[int] = []

    def settle(
        self,
        members: Sequence[Small],
        table: AgeTables,
        *,
        family: MomentFamily,
        group: Mapping[str, Any],
    ) -> None:
        """Make the step right for the young entries of tensors with the same options and type."""
        self._look(members, table, family.moments(group))
        square = torch.cat(self._seconds, out=self._square)
        own = [factor.index_select(0, self._numbers) for factor in table.factors]
        theirs = (
            table.singles[0]
            if table.alike
            else [each.index_select(0, self._whose) for each in table.theirs]
        )
        added = family.gap(square, own, theirs, group=group, into=(square, self._beside))
        added.mul_(torch.cat(self._firsts, out=self._mean))
        only(added, self._limit)
        torch._foreach_add_(self._values, added.split(self._lengths))  # pyright: ignore[reportPrivateUsage] # as torch's optimizers do

    def _look(self, members: Sequence[Small], table: AgeTables, keys: Sequence[str]) -> None:
        grids = [grid for _, grid in members]
        starts = [(member.index, table.starts[member.index]) for member, _ in members]
        alike = starts == self._starts and same(grids, self._grids)
        tensors = [
            [member.parameter, *(member.state[key] for key in keys)] for member, _ in members
        ]
        where = [each.data_ptr() for three in tensors for each in three]
        if not alike:
            numbers = [grid.numbers().reshape(-1) for grid in grids]
            self._lengths = list(map(len, numbers))
            each = list(zip(numbers, starts, strict=True))
            self._numbers = torch.cat([own + start for own, (_, start) in each])
            self._whose = torch.cat([torch.full_like(own, index) for own, (index, _) in each])
            kind = members[0][0].parameter.dtype
            self._limit = limits(torch.cat(numbers) > 0, kind)
            self._square, self._beside, self._mean = torch.empty(
                3, len(self._numbers), dtype=kind, device="cpu"
            )
        if not alike or where != self._where:
            rows = [
                [grid.matrix(each).view(-1) for each in three]
                for three, grid in zip(tensors, grids, strict=True)
            ]
            self._values, self._firsts, self._seconds = map(list, zip(*rows, strict=True))
        self._grids, self._starts, self._where = grids, starts, where
