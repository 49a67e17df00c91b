"""Unions over the windows of pooling and of fixed kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrow.graph.meetings import Reason
from regrow.graph.sets import SetTable


def kernel_positions(
    *, size: int, count: int, kernel: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Where a sliding window looks along one axis.

    Examples:
        >>> kernel_positions(size=3, count=2, kernel=2, stride=2, padding=1, dilation=1)
        tensor([[3, 0],
                [1, 2]])
    """
    start = torch.arange(count, device="cpu")[:, None] * stride - padding
    position = start + torch.arange(kernel, device="cpu") * dilation
    # One place more than there are, behind the last, which `join_windows` fills with the empty set: padding depends on
    # nothing.
    return torch.where((position >= 0) & (position < size), position, size)


def adaptive_positions(*, size: int, count: int) -> Tensor:
    """Where the windows of adaptive pooling look along one axis.

    Examples:
        >>> adaptive_positions(size=3, count=2)
        tensor([[0, 1],
                [1, 2]])
    """
    index = torch.arange(count, device="cpu")
    start = index * size // count
    end = -(-(index + 1) * size // count)
    position = start[:, None] + torch.arange(int((end - start).max()), device="cpu")
    return torch.where(position < end[:, None], position, size)


def join_windows(
    table: SetTable, names: Tensor, positions: Sequence[Tensor], why: Reason
) -> Tensor:
    """Unite the names, (..., *space), in each window of the last axes: (..., *output space)."""
    first = names.ndim - len(positions)
    over = range(first, names.ndim)
    corner = names[(..., *(slice(0, 1) for _ in over))]
    if torch.equal(corner.expand_as(names), names):  # nothing changes over space
        return corner.expand(*names.shape[:first], *(len(position) for position in positions))
    # One axis after the other: a 7x7 window takes 6 + 6 unions a place and not 48, and every union is the same set.
    for axis, position in zip(over, positions, strict=True):
        outside = torch.zeros_like(names.narrow(axis, 0, 1))
        padded = torch.cat([names, outside], axis)
        joined = padded.index_select(axis, position[:, 0])
        for column in position.T[1:]:
            joined = table.join(joined, padded.index_select(axis, column), why)
        names = joined
    return names


def at(setting: object, axis: int) -> int:
    """One axis of a setting that may be given once for all axes."""
    if isinstance(setting, Sequence) and setting:
        return int(setting[axis] if len(setting) > 1 else setting[0])
    return int(str(setting))
