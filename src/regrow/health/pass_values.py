"""PassValues: what is worked out of the tensors of one forward pass, each once, however many layers ask.

What one layer gives is what the next one hears. Asked by `unit_reading` and `input_reading` while a pass runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

_BOUNDS: Final = {
    "tanh": (-1.0, 1.0),
    "tanh_": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "sigmoid_": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
}
"""Functions between two bounds, at both of which they are flat."""

_SMALL: Final = 2**14
"""Examples of fewer numbers are not gone through one by one."""

FLOORED: Final = frozenset({"relu", "relu_", "relu6"})
"""Functions that give nothing below 0."""


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Of one tensor, over positions: by example and channel, (N, P)."""

    low: Tensor  # the smallest value
    high: Tensor  # the largest
    positions: int  # how many values each of them is of


class PassValues:
    """Knows a tensor again by its memory and how often that was written into."""

    def __init__(self) -> None:
        self._ends: dict[Hashable, Ends] = {}
        self._floored: set[tuple[int, int]] = set()
        self._flat: dict[tuple[int, int], tuple[Tensor, int]] = {}
        self._bounds: dict[Hashable, tuple[float, float]] = {}
        # A weak reference keeps the storage's own number from being used again, and none of its memory.
        self._met: dict[int, StorageWeakRef] = {}

    def bounded(self, x: Tensor, bounds: tuple[float, float]) -> None:
        """All of this tensor lies between two bounds."""
        if _fills_its_memory(x):
            self._bounds[self._memory(x)] = bounds

    def bounds(self, x: Tensor) -> tuple[float, float] | None:
        """Those of the function that made it; None where it is not known to have any."""
        return self._bounds.get(self._memory(x))

    def floored(self, x: Tensor) -> None:
        """Nothing in this tensor lies below 0."""
        if _fills_its_memory(x):
            self._floored.add(self._memory(x))

    def flattened(self, out: Tensor, flat: Tensor) -> None:
        """What an activation gives, and where it is flat there."""
        # A mark for every number of a pass would be a quarter of all activations: those of tensors that are gone go.
        for memory in [each for each in self._flat if self._met[each[0]].expired()]:
            del self._flat[memory]
        if flat.shape == out.shape and flat.stride() == out.stride():
            self._flat[self._memory(out)] = flat, int(out.storage_offset())

    def flat(self, x: Tensor) -> Tensor | None:
        """Where the function that made this tensor, or what it is a view of, is flat; None where that is not known."""
        flat, start = self._flat.get(self._memory(x), (None, 0))
        if flat is None:
            return None
        start = int(x.storage_offset()) - start
        last = start + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
        inside = start >= 0 and last < flat.untyped_storage().nbytes()
        return flat.as_strided(x.shape, x.stride(), start) if inside else None

    def ends(self, x: Tensor, axes: Sequence[int], *, lowest: bool = False) -> Ends:
        """Over all axes but those of the channels, and the first other one, which has the examples.

        With `lowest` the smallest values do not matter if they are not below 0, and are given as 0 where that is known.
        """
        memory = self._memory(x)
        key = *memory, x.storage_offset(), tuple(x.shape), tuple(x.stride()), tuple(axes)
        lowest = lowest and memory in self._floored
        found = self._ends.get((key, False)) or self._ends.get((key, lowest))
        if found is None:
            found = self._ends[key, lowest] = _ends(by_example(x, axes), lowest=lowest)
        return found

    def sizes(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """The sums of absolute values, as `ends`."""
        wide = _summable(by_example(x, axes))
        # Behind a ReLU nothing is negative, and a pass over the tensor can be left out.
        return wide.sum(-1) if self._memory(x) in self._floored else _sizes(wide)

    def _memory(self, x: Tensor) -> tuple[int, int]:
        met = StorageWeakRef(x.untyped_storage())
        self._met.setdefault(met.cdata, met)
        return met.cdata, x._version  # pyright: ignore[reportPrivateUsage]


def bounds_of(
    name: str, args: Sequence[Any], named: Mapping[str, Any]
) -> tuple[float, float] | None:
    """The bounds of what a call gives, at both of which the function is flat; None where it has none."""
    if name != "hardtanh":
        return _BOUNDS.get(name)
    low = args[1] if len(args) > 1 else named.get("min_val", -1.0)
    high = args[2] if len(args) > 2 else named.get("max_val", 1.0)
    # One that is flat at 0 is a ReLU6, and is so in ordinary work.
    return (low, high) if low < 0 else None


def _fills_its_memory(x: Tensor) -> bool:
    """Not so of a part that was written over in place: the rest of the memory is something else."""
    return x.untyped_storage().nbytes() == x.numel() * x.itemsize


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


def _summable(x: Tensor) -> Tensor:
    """Sums of half precision end at 65504."""
    return x if x.dtype.is_floating_point and x.dtype.itemsize >= 4 else x.float()


def _ends(x: Tensor, *, lowest: bool) -> Ends:
    x = _summable(x)
    if x.shape[-1] == 1:
        return Ends(low=x[..., 0], high=x[..., 0], positions=1)
    high = x.amax(-1)
    return Ends(
        low=torch.zeros_like(high) if lowest else x.amin(-1), high=high, positions=x.shape[-1]
    )


def _sizes(x: Tensor) -> Tensor:
    """Sums of absolute values."""
    if not x.is_cpu or x[0].numel() < _SMALL:
        return x.abs().sum(-1)
    # Example by example, into one place that stays in the cache: a second tensor as large as the first costs more to
    # get than to fill.
    place = torch.empty_like(x[0])
    return torch.stack([torch.abs(one, out=place).sum(-1) for one in x])


def exact(device: torch.device) -> torch.dtype:
    """In which sums over many batches are kept."""
    return torch.float32 if device.type == "mps" else torch.float64
