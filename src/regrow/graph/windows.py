"""Unions over the windows of pooling and of fixed kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from regrow.graph.sets import SetTable, Why


def kernel_positions(
    *, size: int, count: int, kernel: int, stride: int, padding: int, dilation: int
) -> Tensor:
    """Where a sliding window looks along one axis.

    Args:
        size: Length of the input's axis.
        count: Length of the output's axis.
        kernel: Positions in the window.
        stride: Step between windows.
        padding: Positions added in front.
        dilation: Distance of the window's positions.

    Returns:
        int64 (count, kernel): positions in the input; `size` stands for one outside of it.

    Examples:
        >>> kernel_positions(size=3, count=2, kernel=2, stride=2, padding=1, dilation=1)
        tensor([[3, 0],
                [1, 2]])
    """
    start = torch.arange(count, device="cpu")[:, None] * stride - padding
    position = start + torch.arange(kernel, device="cpu") * dilation
    return torch.where((position >= 0) & (position < size), position, size)


def adaptive_positions(*, size: int, count: int) -> Tensor:
    """Where the windows of adaptive pooling look along one axis.

    Args:
        size: Length of the input's axis.
        count: Length of the output's axis.

    Returns:
        int64 (count, longest window); `size` fills the shorter windows.

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


def join_windows(table: SetTable, names: Tensor, positions: Sequence[Tensor], why: Why) -> Tensor:
    """Unite the names in each window of the last axes.

    Args:
        table: The sets.
        names: Names, (..., *space).
        positions: For each axis of space, what `kernel_positions` gives.
        why: Remembered where sets come together.

    Returns:
        Names, (..., *output space).
    """
    first = names.ndim - len(positions)
    over = range(first, names.ndim)
    corner = names[(..., *(slice(0, 1) for _ in over))]
    if torch.equal(corner.expand_as(names), names):  # nothing changes over space
        return corner.expand(*names.shape[:first], *(len(position) for position in positions))
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
