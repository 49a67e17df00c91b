"""UnitReading: what the units of one layer give at one outlet, over all passes.

Called by `health/forward.py` with what passes the outlet; read by `health/layer_values.py` at the end.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from regrow.activity.silence import TOLERANCE
from regrow.graph.flows import Outlet
from regrow.health.pass_values import PassValues, by_example, exact
from regrow.health.products import products_of

_CERTAIN: Final = 1000.0
"""A spread so many times what it takes to be none, of the largest value so far, is certain."""

_NEAR: Final = 0.01
"""Of the way from one bound of an activation to the other: who is nearer is at the bound."""


class UnitReading:
    """Sums by unit, over the examples that came; `compared`: units are compared with each other here."""

    def __init__(self, outlet: Outlet, count: int, device: torch.device, *, compared: bool) -> None:
        self.broken = False  # something came another way than the traced one, and is not judged
        self._outlet, self._count = outlet, count
        units = torch.tensor(outlet.units, device=device)
        # Places of other layers go into one slot too many, which is cut off at the end.
        self._units = torch.where(units >= 0, units, count)
        self._whole = outlet.units == tuple(range(count))
        self._places = torch.bincount(self._units, minlength=count + 1)[:count]
        self.covered = self._places > 0  # units of which there is a place at this outlet, (O,)
        kind = exact(device)
        # The smallest and the largest value of each unit, as long as they were looked for.
        self.low = torch.full((count,), torch.inf, dtype=kind, device=device)
        self.high = -self.low
        self.size = torch.zeros(count, dtype=kind, device=device)  # sum of absolute values
        self.values = torch.zeros(count, dtype=kind, device=device)  # how many they are
        # Examples in which the unit gave something else than 0.
        self.fired = torch.zeros(count, dtype=kind, device=device)
        self.examples = 0  # how many came
        # All units are certain to change, whatever comes up to this size; None where that is not known.
        self.changes: float | None = None
        # Values at which the layer's activation is flat; None where it is not known to be anywhere.
        self.flat: Tensor | None = None
        # Of units with each other; None where they are not compared here.
        self.products = products_of(self._units, count) if compared else None

    def take(self, x: Tensor, values: PassValues) -> None:
        """Take one call in. The argument is read, never written."""
        axes, lengths = self._outlet.axes, self._outlet.sizes
        as_traced = x.ndim == self._outlet.ndim and tuple(x.shape[axis] for axis in axes) == lengths
        if not (as_traced and x.is_floating_point()):
            self.broken = True
            return
        if not x.numel():
            return  # no example came to this branch
        x = x.detach()
        arranged = by_example(x, axes)
        size = values.sizes(x, axes)
        if self.changes is None or not bool((size <= self.changes).all()):
            # Behind a ReLU nothing lies below 0: once every unit has been 0 nothing lower has to be looked for.
            ends = values.ends(x, axes, lowest=self._whole and bool((self.low == 0).all()))
            self.low = torch.minimum(self.low, self._by_unit(ends.low.amin(0), "amin"))
            self.high = torch.maximum(self.high, self._by_unit(ends.high.amax(0), "amax"))
            self.changes = self._certain() if self.changes is None else self.changes
        self.examples += len(size)
        self.size += self._by_unit(size.sum(0, dtype=self.size.dtype), "sum")
        self.values += self._places * (len(size) * arranged.shape[-1])
        fires = size != 0
        if not self._whole:
            each = torch.zeros(len(fires), self._count + 1, device=x.device)
            fires = each.index_add_(1, self._units, fires.to(each.dtype))[:, :-1] > 0
        self.fired += fires.sum(0)
        bounds = values.bounds(x)
        flat = values.flat(x) if bounds is None else self._near(x, bounds)
        if flat is not None:
            found = self._by_unit(by_example(flat, axes).sum((0, 2)), "sum")
            self.flat = found if self.flat is None else self.flat + found
        if self.products is not None:
            self.products.take(arranged)

    def _certain(self) -> float | None:
        """Below which size nothing can make a constant of a unit any more; None where one may be, or be no number."""
        largest = torch.maximum(self.low.abs(), self.high.abs())[self.covered].amax()
        least = (self.high - self.low)[self.covered].amin()
        certain = bool(least > _CERTAIN * TOLERANCE * largest) and bool(largest.isfinite())
        # No value is larger than the sum of its example's: while that is so small, a unit's spread stays far above what
        # it takes to be none, and neither its smallest nor its largest value has to be looked for.
        return _CERTAIN * float(largest) if certain else None

    def _by_unit(self, each: Tensor, how: str) -> Tensor:
        each = each.to(self.size.dtype)
        if self._whole:
            return each
        start = {"amin": torch.inf, "amax": -torch.inf, "sum": 0.0}[how]
        into = torch.full((self._count + 1,), start, dtype=each.dtype, device=each.device)
        return into.scatter_reduce(0, self._units, each, how)[:-1]

    @staticmethod
    def _near(x: Tensor, bounds: tuple[float, float]) -> Tensor:
        margin = _NEAR * (bounds[1] - bounds[0])
        return (x <= bounds[0] + margin) | (x >= bounds[1] - margin)
