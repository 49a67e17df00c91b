"""PassValues: what is worked out of the tensors of one forward pass, each once, however many layers ask.

What one layer gives is what the next one hears. Asked by `unit_reading` and `input_reading` while a pass runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

BOUNDS: Final = {
    "tanh": (-1.0, 1.0),
    "tanh_": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "sigmoid_": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
}
"""Functions between two bounds, at both of which they are flat; ReLU6, flat at 0 in ordinary work, is none of them."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Of one tensor, over positions: by example and channel, (N, P).

    Attributes:
        low: The smallest value.
        high: The largest.
        size: The sum of the absolute values.
        positions: How many values each of them is of.
    """

    low: Tensor
    high: Tensor
    size: Tensor
    positions: int


class PassValues:
    """Knows a tensor again by its memory and how often that was written into."""

    def __init__(self) -> None:
        self._ends: dict[Hashable, Ends] = {}
        self._bounds: dict[Hashable, tuple[float, float]] = {}
        # A weak reference keeps the storage's own number from being used again, and none of its memory.
        self._met: dict[int, StorageWeakRef] = {}

    def clear(self) -> None:
        """Another pass begins."""
        self._ends.clear()
        self._bounds.clear()
        self._met.clear()

    def bounded(self, x: Tensor, bounds: tuple[float, float]) -> None:
        """All of this tensor lies between two bounds."""
        self._bounds[self._memory(x)] = bounds

    def bounds(self, x: Tensor) -> tuple[float, float] | None:
        """Those of the function that made it; None where it is not known to have any."""
        return self._bounds.get(self._memory(x))

    def ends(self, x: Tensor, axes: Sequence[int]) -> Ends:
        """Over all axes but those of the channels, and the first other one, which has the examples."""
        key = *self._memory(x), x.storage_offset(), tuple(x.shape), tuple(x.stride()), tuple(axes)
        found = self._ends.get(key)
        if found is None:
            found = self._ends[key] = _ends(by_example(x, axes))
        return found

    def _memory(self, x: Tensor) -> tuple[int, int]:
        met = StorageWeakRef(x.untyped_storage())
        self._met.setdefault(met.cdata, met)
        return met.cdata, x._version  # pyright: ignore[reportPrivateUsage]


def by_example(x: Tensor, axes: Sequence[int]) -> Tensor:
    """(N, P, R): examples, places of channels row by row, positions."""
    axes = [axis % x.ndim for axis in axes]
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    if not rest:
        return x.reshape(1, -1, 1)
    first, *others = rest
    moved = x.permute(first, *axes, *others)
    places = 1
    for axis in axes:
        places *= x.shape[axis]
    return moved.reshape(x.shape[first], places, -1)


def _ends(x: Tensor) -> Ends:
    if not x.dtype.is_floating_point or x.dtype.itemsize < 4:  # sums of half precision end at 65504
        x = x.float()
    if x.shape[-1] == 1:
        one = x[..., 0]
        return Ends(low=one, high=one, size=one.abs(), positions=1)
    low, high = x.amin(-1), x.amax(-1)
    # Behind a ReLU nothing is negative, and a pass over the tensor can be left out.
    size = x.sum(-1) if bool(low.amin() >= 0) else _sizes(x)
    return Ends(low=low, high=high, size=size, positions=x.shape[-1])


def _sizes(x: Tensor) -> Tensor:
    """Sums of absolute values."""
    if not x.is_cpu:
        return x.abs().sum(-1)
    # Example by example the absolute values stay in the cache, in place of a second tensor as large as the first.
    return torch.stack([one.abs().sum(-1) for one in x])


def exact(device: torch.device) -> torch.dtype:
    """In which sums over many batches are kept."""
    return torch.float32 if device.type == "mps" else torch.float64
