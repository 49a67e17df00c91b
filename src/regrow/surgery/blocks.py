"""Young rows and columns of a large tensor in blocks that stay in the processor's cache.

A step of Adam's kin is made right in some ten passes over the entries. Made one after the other over a whole tensor
they wait for memory, and collecting entries one by one costs more than the arithmetic. So a few rows are taken at a
time and all passes are made over these, and what an age comes to is looked up once a row and once a column instead of
once an entry: since no factor grows with age, the larger one of a row's and a column's is that of the later birth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from regrow.surgery.optimizers import MomentFamily

if TYPE_CHECKING:
    from regrow.surgery.bundle import AgeTables, SteppedTensor

LEAST: Final = 4096
"""Entries of a tensor for which blocks are worth their overhead."""
_BLOCK: Final = 131_072
"""Entries of one block, measured: smaller ones pay more for calls than for arithmetic, larger ones wait for memory."""
_SHAPES: Final = 64
"""So many shapes of blocks are remembered."""
_WHOLE: Final = 4.0
_ROWS: Final = 5.0
_COLUMNS: Final = 12.0
"""Nanoseconds an entry, measured: of a pass over all of a tensor, of copies of its young rows and of its young columns.
Which way is taken changes no bit."""
_BITS: Final = {torch.float32: torch.int32, torch.float64: torch.int64}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The young rows and columns of a tensor that is seen as a matrix, its first axis being the rows."""

    order: tuple[int, ...]  # the axes, from the widest stride to the narrowest
    stride: tuple[int, ...]  # of the tensor
    kind: torch.dtype  # its type
    rows: Tensor  # (R,), the number of each row's birth, 0 where it is old
    columns: Tensor  # (M,), of each column of the matrix, likewise
    young_rows: Tensor  # (Y,), which rows are young
    young_columns: Tensor  # (Z,), which columns are
    apart: bool  # these are few, and are worked on in copies
    small: bool  # the tensor is worked on together with others, by `regrow.surgery.small`

    @cached_property
    def is_whole(self) -> bool:
        """Whether no entry is old."""
        found = (self.young_rows, self.rows), (self.young_columns, self.columns)
        return any(len(young) == len(every) for young, every in found)

    @cached_property
    def old_rows(self) -> list[Tensor]:
        """The old rows of each block of all rows."""
        blocks = self.rows.split(_height(len(self.columns)))
        return [(each == 0).nonzero()[:, 0] for each in blocks]

    @cached_property
    def in_rows(self) -> Tensor:
        """(R, 1), for `only`: where a row is young."""
        return limits(self.rows > 0, self.kind)[:, None]

    @cached_property
    def in_columns(self) -> Tensor:
        """(M,), for `only`: where a column is young."""
        return limits(self.columns > 0, self.kind)

    @cached_property
    def in_old_rows(self) -> Tensor:
        """(R, 1), for `only`: where a row is old."""
        return limits(self.rows == 0, self.kind)[:, None]

    def numbers(self) -> Tensor:
        """(R, M), the number of each entry's birth: the later one of its row's and its column's."""
        return torch.maximum(self.rows[:, None], self.columns)

    @cached_property
    def _is_matrix(self) -> bool:
        """Whether the tensor is one as it is."""
        return self.order == (0, 1)

    @cached_property
    def row_blocks(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """The young rows, some at a time, and the numbers of their births."""
        parts = self.young_rows.split(_height(len(self.columns)))
        return tuple((at, self.rows.index_select(0, at)) for at in parts if len(at))

    def matrix(self, tensor: Tensor) -> Tensor:
        """A tensor that lies as the parameter does, as a matrix."""
        tensor = tensor.detach()
        return tensor if self._is_matrix else tensor.permute(self.order).view(len(self.rows), -1)

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Whether tensors can be worked on so."""
        return all(each.stride() == self.stride and each.dtype == self.kind for each in tensors)


class Scratch:
    """Memory for one block, that is used for each of them in turn: to find it for each takes as long as a pass does."""

    def __init__(self) -> None:
        self._kept: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        self._views: dict[tuple[torch.Size, torch.dtype], tuple[Tensor, Tensor]] = {}

    def two(self, shape: torch.Size, like: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors of a block's shape, with any numbers in them, until this is called again."""
        key = shape, like.dtype
        found = self._views.get(key)
        if found is None:
            count = shape.numel()
            kept = self._kept.get(like.dtype)
            if kept is None or kept[0].numel() < count or len(self._views) > _SHAPES:
                size = max(count, _BLOCK)
                kept = self._kept[like.dtype] = like.new_empty(size), like.new_empty(size)
                self._views.clear()
            first, second = (each[:count].view(shape) for each in kept)
            found = self._views[key] = first, second
        return found


def grid_of(parts: Mapping[str, Tensor], parameter: Tensor) -> Grid | None:
    """See whether the young entries of a tensor can be worked on in blocks."""
    shape, stride = parameter.shape, parameter.stride()
    order = tuple(sorted(range(len(shape)), key=lambda axis: -stride[axis]))
    if (
        parameter.device.type != "cpu"
        or parameter.dtype not in _BITS
        or "entries" in parts
        or order[0] != 0
        or not parameter.permute(order).is_contiguous()
    ):
        return None
    none = torch.zeros((1,) * len(shape), dtype=torch.int32, device="cpu")
    rows, columns = parts.get("rows", none), parts.get("columns", none)
    rows = rows.reshape(-1).expand(shape[0]).contiguous()
    columns = columns.expand(1, *shape[1:]).permute(order).reshape(-1)
    young_rows, young_columns = (each.nonzero()[:, 0] for each in (rows, columns))
    cost = _ROWS * len(young_rows) / len(rows) + _COLUMNS * len(young_columns) / len(columns)
    return Grid(
        order=order,
        stride=stride,
        kind=parameter.dtype,
        rows=rows,
        columns=columns,
        young_rows=young_rows,
        young_columns=young_columns,
        apart=cost < _WHOLE,
        small=parameter.numel() < LEAST,
    )


def settle_in_blocks(
    member: SteppedTensor,
    table: AgeTables,
    *,
    grid: Grid,
    family: MomentFamily,
    group: Mapping[str, Any],
    scratch: Scratch,
) -> None:
    """Make the step right for the young rows and columns of one tensor."""
    factors, theirs = table.parts[member.index], table.singles[member.index]
    value = grid.matrix(member.parameter)
    first, second = (grid.matrix(member.state[key]) for key in family.moments(group))
    young = len(grid.young_columns)
    columns = [factor.index_select(0, grid.columns) for factor in factors] if young else []

    def change(
        moment: Tensor, square: Tensor, own: Sequence[Tensor], into: tuple[Tensor, Tensor]
    ) -> Tensor:
        return family.gap(square, own, theirs, group=group, into=into).mul_(moment)

    if not grid.apart:
        rows = [factor.index_select(0, grid.rows)[:, None] for factor in factors]
        blocks = _blocks(value.shape[1], value, first, second, grid.in_rows, *rows)
        for (there, mean, square, limit, *own), old in zip(blocks, grid.old_rows, strict=True):
            into = scratch.two(square.shape, square)
            added = change(mean, square, _later(own, columns, grid), into)
            if young and not grid.is_whole:
                only(added, torch.maximum(limit, grid.in_columns))
            elif len(old):
                added.index_fill_(0, old, -0.0)
            there.add_(added)
        return
    for at, births in grid.row_blocks:
        own = [factor.index_select(0, births)[:, None] for factor in factors]
        into = scratch.two(torch.Size((len(at), value.shape[1])), second)
        square = torch.index_select(second, 0, at, out=into[0])
        added = family.gap(square, _later(own, columns, grid), theirs, group=group, into=into)
        # What was worked in is free again.
        added.mul_(torch.index_select(first, 0, at, out=square))
        value.index_copy_(0, at, torch.index_select(value, 0, at, out=square).add_(added))
    if young:
        own = [column.index_select(0, grid.young_columns) for column in columns]
        for there, mean, square, limit in _blocks(young, value, first, second, grid.in_old_rows):
            at = grid.young_columns.expand(there.shape[0], -1)
            into = scratch.two(at.shape, second)
            added = change(mean.gather(1, at), square.gather(1, at), own, into)
            only(added, limit)
            there.scatter_add_(1, at, added)


def _height(width: int) -> int:
    """The number of rows in a block."""
    return max(1, _BLOCK // width)


def _blocks(width: int, *matrices: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same few rows of all matrices at a time."""
    height = _height(width)
    if matrices[0].shape[0] <= height:
        return iter((matrices,))
    return zip(*(matrix.split(height) for matrix in matrices), strict=True)


def _later(rows: Sequence[Tensor], columns: Sequence[Tensor], grid: Grid) -> Sequence[Tensor]:
    """Of two births the later one counts, which has the larger factors."""
    # Of a side that is old throughout no factor is larger than the other's. Left out, nothing becomes as large as the
    # tensor, and a third of all passes over it is saved.
    if not len(grid.young_columns):
        return rows
    if not len(grid.young_rows):
        return columns
    return [torch.maximum(row, column) for row, column in zip(rows, columns, strict=True)]


def limits(where: Tensor, kind: torch.dtype) -> Tensor:
    """For `only`: the largest number where something is to be added, the smallest elsewhere."""
    bits = torch.iinfo(_BITS[kind])
    return torch.where(where, bits.max, bits.min).to(_BITS[kind])


def only(added: Tensor, limit: Tensor) -> None:
    """Put -0.0, which changes no bit of what it is added to, where the limit is the smallest number.

    The bits of -0.0 are those of the smallest integer: one pass, where choosing entry by entry takes as long as twenty.
    """
    bits = added.view(_BITS[added.dtype])
    torch.minimum(bits, limit, out=bits)
