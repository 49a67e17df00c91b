"""The range and the sums of what filters give at one outlet in a pass, read as fast as that can be known.

Called by `activity/readings.py` with what passes an outlet, in every call of every pass that is read: this is the path
that costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from regrow.activity.pass_tensors import FEW_VALUES, FIRST, PassTensors, sampled
from regrow.activity.silence import silent
from regrow.graph.flows import Outlet

_SURELY: Final = 1e-3
"""Of the largest value among these: filters that differ by more are not looked at any further."""

_FEW_CHANNELS: Final = 256
"""So many numbers are compared faster as Python's than by operations on tensors."""

Centre = tuple[Tensor | float, Tensor | float]
"""a and b, by filter or for all of them: the centre is a + b * (the mean of the pass)."""


class OutletRange:
    """The range of what filters give at one outlet, over the calls of a pass."""

    def __init__(self, outlet: Outlet, count: int, device: torch.device) -> None:
        self.broken = False
        # What distances are measured from, where somebody asks for them.
        self.centre: Centre | None = None
        self._outlet = outlet  # the outlet
        self._count = count  # filters of the layer
        units = torch.tensor(outlet.units, device=device)
        self._own = units >= 0
        self._whole = outlet.units == tuple(range(count))
        # Places of other layers go into one slot too many, which is cut off at the end: no index has to be taken out.
        self._units = torch.where(self._own, units, count)
        self._places = torch.bincount(self._units, minlength=count + 1)[:count]
        self._rest = tuple(axis for axis in range(outlet.ndim) if axis not in outlet.axes)
        self.covered = self._places > 0
        self.covers = bool(self.covered.all())
        self._asked: list[bool] = self.covered.tolist()
        self._nobody = (
            ~self.covered,
            torch.full((count,), torch.nan, dtype=torch.float32, device=device),
        )
        self._doubted = False
        self._shape: torch.Size | None = None
        self._dtype: torch.dtype | None = None
        self._many = 0
        self._many_each: tuple[int, Tensor] | None = None
        self.low: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Begin a pass."""
        self.broken = False
        self.lively = False
        self._doubted = self.low is not None
        self.low = None
        self.high: Tensor | None = None
        self.largest: Tensor | None = None
        self.values: Tensor | None = None
        self.sums: Tensor | None = None
        self.placed: Tensor | None = None
        self.given = 0
        self.examples = 0

    def read(
        self, x: Tensor, *, sums: bool, ranges: bool = True, tensors: PassTensors | None = None
    ) -> None:
        """Take one more call in. The argument is read, never written; what is worked out is kept in `tensors`.

        Without `ranges` nobody asks who is silent, and nobody is said to be.
        """
        tensors = PassTensors() if tensors is None else tensors
        # As it was in the pass before, nearly always, and then it is known what to make of it.
        if x.shape != self._shape or x.dtype is not self._dtype:
            if not self._fits(x):
                # Another width, or another kind of pass than the one that was traced.
                self.broken = True
                return
            if not x.numel():
                # No example came to this branch. Nothing was given, which is not the same as nothing but zeros.
                return
            self._shape, self._dtype = x.shape, x.dtype
            self._many = x.shape[self._rest[0]] if self._rest else 1
        self.examples += self._many
        x = x.detach()
        if sums:
            self._add(x, tensors)
        # Where somebody was silent in the last pass, somebody is in this one: a first look would be for nothing.
        first_look = not self._doubted and x.is_cpu
        if not ranges or self.lively or (first_look and self._surely_living(x, tensors)):
            self.lively = True  # nobody is silent in a pass who was not in one call of it
            return
        low, high, largest = self._range(x)
        if self.lively:
            return
        values = self._places * (x.numel() // max(len(self._outlet.units), 1))
        self.values = values if self.values is None else self.values + values
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        self.largest = largest if self.largest is None else torch.maximum(self.largest, largest)

    def _fits(self, x: Tensor) -> bool:
        axes, sizes = self._outlet.axes, self._outlet.sizes
        return (
            x.ndim == self._outlet.ndim
            and tuple(x.shape[axis] for axis in axes) == sizes
            and x.is_floating_point()
        )

    def silent(self) -> tuple[Tensor, Tensor] | None:
        """Who was silent here, and with which value; None where nothing was given."""
        if self.lively:
            return self._nobody
        if self.low is None or self.high is None or self.largest is None or self.values is None:
            return None
        found = silent(self.low, self.high, largest=self.largest, values=self.values)
        return found | ~self.covered, self.low

    def _surely_living(self, x: Tensor, tensors: PassTensors) -> bool:
        """Whether a few places of a few examples show already that no filter is silent."""
        if not self._rest or not any(self._asked):
            return False
        low, high = tensors.ends_of_a_few(x, self._rest)
        if low.numel() > _FEW_CHANNELS:
            if not self._whole:
                low = self._by_unit(low, self._units, "amin")
                high = self._by_unit(high, self._units, "amax")
            spread = high - low if self.covers else (high - low).where(self.covered, torch.inf)
            ends = torch.stack((spread.amin(), high.amax(), low.amin()))
            least, above, below = ends.tolist()
            return least > _SURELY * max(above, -below)
        # As fast as one operation, in place of five.
        lows: list[float] = low.flatten().tolist()
        highs: list[float] = high.flatten().tolist()
        if not self._whole:
            lows, highs = self._units_ends(lows, highs)
        limit = _SURELY * max(*highs, -min(lows))
        if self.covers:
            return all(one - other > limit for one, other in zip(highs, lows, strict=True))
        # Filters that this outlet does not show have no lowest and no highest value here, and are seen at another one.
        each = zip(highs, lows, self._asked, strict=True)
        return all(one - other > limit for one, other, asked in each if asked)

    def _units_ends(
        self, lows: Sequence[float], highs: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        """By filter, of what is known by place."""
        low, high = [math.inf] * self._count, [-math.inf] * self._count
        for unit, least, most in zip(self._outlet.units, lows, highs, strict=True):
            if unit >= 0:
                # In this order nan stays, as in a tensor's own: a filter that gives it is not sure to be living.
                low[unit] = least if math.isnan(least) else min(low[unit], least)
                high[unit] = most if math.isnan(most) else max(high[unit], most)
        return low, high

    def _range(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if x.device.type != "cpu" or not self._rest or x.shape[self._rest[0]] <= FIRST:
            return self._range_of(x)
        # Few examples say of nearly everybody that they are living. Who is not sure of it is looked at in all.
        all_ = len(self._rest) == 1 and x.numel() <= FEW_VALUES
        low, high, size = self._range_of(x if all_ else x.narrow(self._rest[0], 0, FIRST))
        sure = (high - low > _SURELY * size) | ~self.covered
        if bool(sure.all()):
            self.lively = any(self._asked)
            return low, high, size
        if all_:
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
        (axis,), own = self._outlet.axes, x
        if not bool(self._own.all()):
            own = x.index_select(axis, self._own.nonzero()[:, 0])
        largest = torch.stack(torch.aminmax(own)).abs().amax().float()
        among = torch.cat((wanted, wanted.new_zeros(1)))[self._units].nonzero()[:, 0]
        some = x.index_select(axis, among)
        low = self._by_unit(some.amin(self._rest), self._units[among], "amin")
        return low, self._by_unit(some.amax(self._rest), self._units[among], "amax"), largest

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (x.amin(self._rest), x.amax(self._rest)) if self._rest else (x, x)
        return self._by_unit(low, self._units, "amin"), self._by_unit(high, self._units, "amax")

    def _by_unit(self, ends: Tensor, units: Tensor, how: str) -> Tensor:
        flat = ends.flatten().float()
        if self._whole and len(flat) == self._count:
            # Each place is the filter of its number, as behind nearly every layer: nothing has to be gathered.
            return flat
        start = flat.new_full((self._count + 1,), torch.inf if how == "amin" else -torch.inf)
        return start.scatter_reduce(0, units, flat, how)[:-1]

    def _add(self, x: Tensor, tensors: PassTensors) -> None:
        each, many = tensors.sums(x, self._rest)
        # Of a layer of one unit no axis is of channels.
        flat = each.flatten(1) if each.ndim > 1 else each[:, None]
        each_place = many // max(len(self._outlet.units), 1)
        if self._many_each is None or each_place != self._many_each[0]:
            # The same in nearly every pass.
            self._many_each = each_place, (self._places * each_place).double()[None]
        if not self._whole:
            by_unit = torch.zeros(3, self._count + 1, dtype=torch.float64, device=x.device)
            flat = by_unit.index_add_(1, self._units, flat)[:, :-1]
        found = torch.cat((flat, self._many_each[1]))
        if self.centre is not None:
            found = torch.cat((found, self._deviations(x, found[0] / found[3], self.centre)[None]))
        placed = each[0].flatten()
        self.placed = placed if self.placed is None else self.placed + placed
        self.given += each_place
        self.sums = found if self.sums is None else self.sums + found

    def _deviations(self, x: Tensor, mean: Tensor, centre: Centre) -> Tensor:
        """Sums of distances from the centre, by filter, over the examples that `PassTensors.sums` takes."""
        a, b = centre
        whole = torch.cat((a + b * mean, mean.new_zeros(1)))  # one for nobody's places
        shape = [1] * x.ndim
        for axis in self._outlet.axes:
            shape[axis] = x.shape[axis]
        apart = (sampled(x, self._rest) if self._rest else x) - whole[self._units].to(x).view(shape)
        each = (apart.abs().float().sum(self._rest) if self._rest else apart.abs()).double()
        sums = torch.zeros(self._count + 1, dtype=torch.float64, device=x.device)
        return sums.index_add_(0, self._units, each.flatten())[:-1]
