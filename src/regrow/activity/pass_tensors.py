"""PassTensors: what is worked out of the tensors of one pass, once, wherever each of them is met.

Held by an `ActivityMeter` for the length of a pass; its readings and outlet ranges ask it and share what it has.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

FIRST: Final = 4
"""Examples that are looked at first: nearly every living filter differs there."""

_DOWN: Final = 2
"""Places of these along each other axis but the last."""

_ACROSS: Final = 16
"""And along the last."""

_SUMMED: Final = 16
"""Examples of a pass that sums are taken of, about: all of them are three passes more over every activation."""

_PIECE: Final = 2**18
"""Numbers that are summed at once: what is worked out on the way stays in the processor's cache."""

FEW_VALUES: Final = 2**13
"""Without positions so many numbers are worked on in the time in which an operation begins."""

_VIEWS: Final = 256
"""Shapes of which it is remembered where these lie: sentences come in all lengths."""


class PassTensors:
    """What one layer gives is what the next one hears, and often leaves at two places: it is read once."""

    def __init__(self) -> None:
        self._few: dict[Hashable, tuple[Tensor, Tensor]] = {}
        self._sums: dict[Hashable, tuple[Tensor, int]] = {}
        self._views: dict[Hashable, tuple[torch.Size, tuple[int, ...], int]] = {}
        self._met: dict[int, StorageWeakRef] = {}
        self._buffer: Tensor | None = None

    def clear(self) -> None:
        """Another pass begins."""
        self._few.clear()
        self._sums.clear()
        self._met.clear()

    def ends_of_a_few(self, x: Tensor, over: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The smallest and the largest of a few values of each channel; `over` are the other axes, examples first."""
        key = self._key(x, over)
        found = self._few.get(key)
        if found is None:
            few, axes = self._few_of(x, over), tuple(over)
            found = self._few[key] = few.amin(axes), few.amax(axes)
        return found

    def sums(self, x: Tensor, over: Sequence[int]) -> tuple[Tensor, int]:
        """Sums over some of the examples, evenly spaced; `over` as in `ends_of_a_few`, or () for a single example.

        By channel the sum, the sum of sizes and the number of positive values, (3, *sizes) float64; and how many values
        were summed in all.
        """
        key = self._key(x, over)
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = self._summed(x, over)
        return found

    def _few_of(self, x: Tensor, over: Sequence[int]) -> Tensor:
        """`a_few`, as one operation where a tensor of this shape has been met before."""
        if type(x) is not Tensor:
            return a_few(x, over)
        place = x.shape, x.stride(), tuple(over)
        view = self._views.get(place)
        if view is None:
            if len(self._views) >= _VIEWS:
                self._views.clear()
            few = a_few(x, over)
            further = int(few.storage_offset() - x.storage_offset())
            self._views[place] = few.shape, few.stride(), further
            return few
        shape, strides, further = view
        return x.as_strided(shape, strides, x.storage_offset() + further)

    def _key(self, x: Tensor, over: Sequence[int]) -> Hashable:
        """Says which values these are, and not only where: what is freed in the pass gives its place to others."""
        # A weak reference keeps the storage's own number from being used again, and none of its memory.
        # With `_version` below: what is written into in place between two looks is no longer the same values.
        met = StorageWeakRef(x.untyped_storage())
        self._met.setdefault(met.cdata, met)
        place = x.storage_offset(), tuple(x.shape), tuple(x.stride())
        return met.cdata, x._version, place, tuple(over)  # pyright: ignore[reportPrivateUsage]

    def _summed(self, x: Tensor, over: Sequence[int]) -> tuple[Tensor, int]:
        if not over:
            return torch.stack((x, x.abs(), (x > 0).to(x.dtype))).double(), x.numel()
        first, *others = over
        if x.shape[first] == 1 and not others:  # one value of each: sums are what they are of
            one = x.reshape(x.shape[:first] + x.shape[first + 1 :]).float()
            return torch.stack((one, one.abs(), (one > 0).to(one.dtype))).double(), x.numel()
        x = sampled(x, over)
        moved = x.movedim(first, 0).float()
        axes = tuple(axis + (axis < first) for axis in others)  # where the other axes went
        waits = x.device.type != "cpu"
        few = not axes and not waits and x.numel() <= FEW_VALUES
        if few and moved.ndim == 2 and moved.shape[1] > 1 and moved.stride(1) == 1:
            return _summed_at_once(moved), x.numel()
        rows = max(1, _PIECE // max(1, moved[0].numel()))
        # Behind a ReLU nothing is negative, and half of the work can be left out: if a few show none, all are asked. Of
        # few values to ask is more work than to do it.
        few = few and moved.is_contiguous()
        signed = waits or few or bool(self.ends_of_a_few(x, over)[0].amin() < 0)
        total: Tensor | None = None
        for piece in moved.split(len(moved) if waits else rows):
            if self._buffer is None or self._buffer.shape != piece.shape:
                self._buffer = torch.empty(piece.shape, dtype=piece.dtype, device=piece.device)
            into, plain = self._buffer, _over(piece, axes)
            above = plain
            if signed or bool(piece.amin() < 0):
                above = _over(torch.clamp(piece, min=0, out=into), axes)
            many = _over(torch.gt(piece, 0, out=into), axes)
            three = torch.stack((plain, 2 * above - plain, many)).double()
            total = three if total is None else total + three
        assert total is not None  # noqa: S101 # there are examples
        return total, x.numel()


def _summed_at_once(x: Tensor) -> Tensor:
    """Of few values, (N, C), all three sums as one: to begin an operation takes longer than to do it."""
    plain, above, many = three = torch.empty(3, *x.shape, dtype=x.dtype, device=x.device)
    plain.copy_(x)
    torch.clamp(plain, min=0, out=above)
    torch.gt(plain, 0, out=many)
    plain, above, _ = sums = three.sum(1)
    above.mul_(2).sub_(plain)
    return sums.double()


def sampled(x: Tensor, over: Sequence[int]) -> Tensor:
    """A view of the examples that sums are taken of, evenly spaced; `over` as in `sums`."""
    first = over[0]
    step = max(1, x.shape[first] // _SUMMED)
    return x[(slice(None),) * first + (slice(None, None, step),)]


def a_few(x: Tensor, over: Sequence[int]) -> Tensor:
    """A view of a few examples, and of each a few places in the middle that lie side by side; `over` as in `sums`."""
    few = [slice(None)] * x.ndim
    few[over[0]] = slice(FIRST)
    # Places far apart would each bring a line of their own into the cache, which costs more than looking at them does.
    for axis in over[1:]:
        length, wanted = x.shape[axis], _ACROSS if axis == over[-1] else _DOWN
        if length > wanted:
            begin = (length - wanted) // 2
            few[axis] = slice(begin, begin + wanted)
    return x[tuple(few)]


def _over(piece: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Summed over positions first, which lie side by side, and then over the examples."""
    if axes and axes[0] == piece.ndim - len(axes) and piece.is_contiguous():
        rows = piece.flatten(axes[0]).flatten(0, -2)  # a product with ones is the fastest sum
        return torch.mv(rows, rows.new_ones(rows.shape[1])).view(piece.shape[: axes[0]]).sum(0)
    return (piece.sum(axes) if axes else piece).sum(0)
