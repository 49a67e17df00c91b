"""The range and the sums of what filters give at one outlet in a pass, read as fast as that can be known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from regrow.functional.silence import silent
from regrow.graph.flows import Outlet

FIRST: Final = 4
"""Examples that are looked at first, and places along each other axis: nearly every living filter differs there."""

SUMMED: Final = 32
"""Examples of a pass that sums are taken of, about: all of them are three passes more over every activation."""

_PIECE: Final = 2**18
"""Numbers that are summed at once: what is worked out on the way stays in the processor's cache."""

_SURELY: Final = 1e-3
"""Of the largest value among these: filters that differ by more are not looked at any further."""


class OutletRange:
    """The range of what filters give at one outlet, over the calls of a pass.

    Args:
        outlet: The outlet.
        count: Filters of the layer.
        device: Where its values are.
    """

    def __init__(self, outlet: Outlet, count: int, device: torch.device) -> None:
        self.broken = False
        self._outlet = outlet
        self._count = count
        units = torch.tensor(outlet.units, device=device)
        self._own = units >= 0
        self._whole = outlet.units == tuple(range(count))
        self._units = torch.where(self._own, units, count)
        self._places = torch.bincount(self._units, minlength=count + 1)[:count]
        self._rest = tuple(axis for axis in range(outlet.ndim) if axis not in outlet.axes)
        self.covered = self._places > 0
        self.covers = bool(self.covered.all())
        self._buffer: Tensor | None = None
        none = torch.full((count,), torch.inf, device=device)
        self._infinite, self._one = (-none, none), torch.ones((), device=device)
        self.reset()

    def reset(self) -> None:
        """Begin a pass."""
        self.broken = False
        self.lively = True
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.largest: Tensor | None = None
        self.values: Tensor | None = None
        self.sums: Tensor | None = None
        self.examples = 0

    def read(self, x: Tensor, *, sums: bool, summed: dict[object, Tensor] | None = None) -> None:
        """Take one more call in.

        Args:
            x: The argument. Read, never written.
            sums: Whether sums are wanted too.
            summed: What was summed already in this pass, by tensor. Written.
        """
        summed = {} if summed is None else summed
        outlet = self._outlet
        sizes = tuple(x.shape[axis] for axis in outlet.axes) if x.ndim == outlet.ndim else None
        if sizes != outlet.sizes or not x.is_floating_point():
            self.broken = (
                True  # another width, or another kind of pass than the one that was traced
            )
            return
        if not x.numel():
            return
        rest = [x.shape[axis] for axis in self._rest]
        self.examples += rest[0] if rest else 1
        many = x.numel() // max(len(outlet.units), 1)
        values = self._places * many
        self.values = values if self.values is None else self.values + values
        if sums:
            self._add(x.detach(), summed)
        if x.device.type == "cpu" and self._surely_living(x.detach()):
            low, high = self._infinite
            largest = self._one
        else:
            self.lively = False
            low, high, largest = self._range(x.detach())
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        self.largest = largest if self.largest is None else torch.maximum(self.largest, largest)

    def silent(self) -> tuple[Tensor, Tensor] | None:
        """Who was silent here, and with which value; None where nothing was given."""
        if self.low is None or self.high is None or self.largest is None or self.values is None:
            return None
        found = silent(self.low, self.high, largest=self.largest, values=self.values)
        return found | ~self.covered, self.low

    def _surely_living(self, x: Tensor) -> bool:
        """Whether a few places of a few examples show already that no filter is silent."""
        if not self._rest or not self.covers:
            return False
        few = a_few(x, self._rest)
        low, high = few.amin(self._rest), few.amax(self._rest)
        if not self._whole:
            low, high = (
                self._by_unit(low, self._units, "amin"),
                self._by_unit(high, self._units, "amax"),
            )
        size = float(torch.maximum(high, -low).amax())
        return bool((high - low).amin() > _SURELY * size)

    def _range(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if x.device.type != "cpu" or not self._rest or x.shape[self._rest[0]] <= FIRST:
            return self._range_of(x)
        low, high = self._ends(x.narrow(self._rest[0], 0, FIRST))
        size = torch.maximum(low.abs(), high.abs())
        size = size.where(self.covered, 0.0).amax()
        sure = (high - low > _SURELY * size) | ~self.covered
        if bool(sure.all()):
            return low, high, size
        if not bool(sure.any()):
            return self._range_of(x)
        later, above, largest = self._range_of(x, ~sure)
        return low.where(sure, later), high.where(sure, above), largest

    def _range_of(self, x: Tensor, wanted: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Of all values, of some filters alone where that is enough; and the largest of all."""
        if wanted is None or len(self._outlet.axes) != 1:
            low, high = self._ends(x)
            size = torch.maximum(low.abs(), high.abs())
            return low, high, size.where(self.covered, 0.0).amax()
        own = (
            x
            if bool(self._own.all())
            else x.index_select(self._outlet.axes[0], self._own.nonzero()[:, 0])
        )
        largest = torch.stack(torch.aminmax(own)).abs().amax().float()
        among = torch.cat((wanted, wanted.new_zeros(1)))[self._units].nonzero()[:, 0]
        some = x.index_select(self._outlet.axes[0], among)
        low = self._by_unit(some.amin(self._rest), self._units[among], "amin")
        return low, self._by_unit(some.amax(self._rest), self._units[among], "amax"), largest

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (x.amin(self._rest), x.amax(self._rest)) if self._rest else (x, x)
        return self._by_unit(low, self._units, "amin"), self._by_unit(high, self._units, "amax")

    def _by_unit(self, ends: Tensor, units: Tensor, how: str) -> Tensor:
        flat = ends.flatten().float()
        if self._whole and len(flat) == self._count:
            return flat
        start = torch.full(
            (self._count + 1,), torch.inf if how == "amin" else -torch.inf, device=flat.device
        )
        return start.scatter_reduce(0, units, flat, how)[:-1]

    def _add(self, x: Tensor, summed: dict[object, Tensor]) -> None:
        if self._rest:  # some of the examples, evenly spaced
            first = self._rest[0]
            step = max(1, x.shape[first] // SUMMED)
            x = x[(slice(None),) * first + (slice(None, None, step),)]
        # A tensor that leaves at two places (into a convolution, and past it) is summed once.
        key = (x.data_ptr(), x._version, tuple(x.shape), tuple(x.stride()))
        each = summed.get(key)
        if each is None:
            each = (
                self._sums_of(x) if self._rest else torch.stack((x, x.abs(), (x > 0).to(x.dtype)))
            )
            summed[key] = each
        found = torch.zeros(4, self._count + 1, dtype=torch.float64, device=x.device)
        found[:3].index_add_(1, self._units, each.flatten(1).double())
        found = found[:, :-1]
        found[3] = self._places * (x.numel() // max(len(self._outlet.units), 1))
        self.sums = found if self.sums is None else self.sums + found

    def _sums_of(self, x: Tensor) -> Tensor:
        """Sum, sum of sizes and number of positive values, (3, *sizes), in pieces that stay in the cache."""
        first, *others = self._rest
        moved = x.movedim(first, 0).float()
        axes = tuple(axis + (axis < first) for axis in others)  # where the other axes went
        rows = max(1, _PIECE // max(1, moved[0].numel()))
        waits = x.device.type != "cpu"
        # Behind a ReLU nothing is negative, and half of the work can be left out: if a few show none, all are asked.
        signed = waits or bool(a_few(x, self._rest).amin() < 0)
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
        return total


def a_few(x: Tensor, over: Sequence[int]) -> Tensor:
    """A few examples, and a few places along each other axis.

    Args:
        x: Any.
        over: Its axes but those of channels, examples first.

    Returns:
        A view.
    """
    few = x.narrow(over[0], 0, min(FIRST, x.shape[over[0]]))
    for axis in over[1:]:
        step = x.shape[axis] // FIRST
        if step > 1:
            few = few[(slice(None),) * axis + (slice(None, None, step),)]
    return few


def _over(piece: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Summed over positions first, which lie side by side, and then over the examples."""
    if axes and axes[0] == piece.ndim - len(axes) and piece.is_contiguous():
        rows = piece.flatten(axes[0]).flatten(0, -2)  # a product with ones is the fastest sum
        return torch.mv(rows, rows.new_ones(rows.shape[1])).view(piece.shape[: axes[0]]).sum(0)
    return (piece.sum(axes) if axes else piece).sum(0)
