"""UnitReading: what the units of one layer give at one outlet, over all passes.

Called by `health/forward.py` with what passes the outlet; read by `health/layer_values.py` at the end.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from regrow.graph.flows import Outlet
from regrow.health.pass_values import PassValues, by_example, exact

MOST_UNITS: Final = 1024
"""Of more units these many, evenly spaced, are compared with each other: the products of all would fill the memory."""

_POSITIONS: Final = 8
"""Positions of each example, evenly spaced, to twice as many, whose values are compared and ranked."""

_BLOCKS: Final = 4
"""Products are symmetric: of so many blocks of columns only those with later ones are worked out."""

_NEAR: Final = 0.01
"""Of the way from one bound of an activation to the other: who is nearer is at the bound."""


class UnitReading:
    """Sums by unit, over the examples that came.

    Attributes:
        broken: Something came another way than the traced one, and is not judged.
        covered: Units of which there is a place at this outlet, (O,) bool.
        low, high: The smallest and the largest value of each unit.
        size: Sum of absolute values.
        values: How many they are.
        fired: Examples in which the unit gave something else than 0.
        examples: How many came.
        at_bounds: Values at a bound of the layer's activation; None where it is not known to have any.
        zeros: Zeros among the values that are looked at for `products`.
        rows: How many of these each unit has.
        sums: Their sums, in the order of `products`.

    Args:
        outlet: Where.
        count: Units of the layer.
        device: Of its weight.
        compared: Whether units are compared with each other here.
    """

    def __init__(self, outlet: Outlet, count: int, device: torch.device, *, compared: bool) -> None:
        self.broken = False
        self._outlet, self._count = outlet, count
        units = torch.tensor(outlet.units, device=device)
        # Places of other layers go into one slot too many, which is cut off at the end.
        self._units = torch.where(units >= 0, units, count)
        self._whole = outlet.units == tuple(range(count))
        self._places = torch.bincount(self._units, minlength=count + 1)[:count]
        self.covered = self._places > 0
        kind = exact(device)
        self.low = torch.full((count,), torch.inf, dtype=kind, device=device)
        self.high = -self.low
        self.size = torch.zeros(count, dtype=kind, device=device)
        self.values = torch.zeros(count, dtype=kind, device=device)
        self.fired = torch.zeros(count, dtype=kind, device=device)
        self.examples = 0
        self.at_bounds: Tensor | None = None
        self.zeros = torch.zeros(count, dtype=kind, device=device)
        self.rows = 0
        self._some = self._order() if compared else None
        some = 0 if self._some is None else len(self._some)
        self._products = None if not some else torch.zeros(some, some, dtype=kind, device=device)
        self.sums = torch.zeros(some, dtype=kind, device=device)

    @property
    def products(self) -> Tensor | None:
        """H^T H of what is looked at; None where that is not measured."""
        if self._products is None:
            return None
        upper = self._products.triu()
        return upper + upper.triu(1).mT

    @property
    def compared(self) -> Tensor:
        """The units that `products` are of, in its order."""
        assert self._some is not None  # noqa: S101 # asked only where there are products
        return self._units[self._some[:, 0]]

    def take(self, x: Tensor, values: PassValues) -> None:
        """Take one call in. The argument is read, never written."""
        axes, sizes = self._outlet.axes, self._outlet.sizes
        if x.ndim != self._outlet.ndim or tuple(x.shape[axis] for axis in axes) != sizes:
            self.broken = True
            return
        if not x.is_floating_point():
            self.broken = True
            return
        if not x.numel():
            return  # no example came to this branch
        x = x.detach()
        ends = values.ends(x, axes)
        self.examples += len(ends.low)
        self.low = torch.minimum(self.low, self._by_unit(ends.low.amin(0), "amin"))
        self.high = torch.maximum(self.high, self._by_unit(ends.high.amax(0), "amax"))
        self.size += self._by_unit(ends.size.sum(0, dtype=self.size.dtype), "sum")
        self.values += self._places * (len(ends.low) * ends.positions)
        fires = (ends.low != 0) | (ends.high != 0)
        if not self._whole:
            each = torch.zeros(len(fires), self._count + 1, device=x.device)
            fires = each.index_add_(1, self._units, fires.to(each.dtype))[:, :-1] > 0
        self.fired += fires.sum(0)
        bounds = values.bounds(x)
        arranged = by_example(x, axes)
        if bounds is not None:
            self._add_at_bounds(arranged, bounds)
        if self._some is not None:
            self._compare(arranged, self._some)

    def _by_unit(self, each: Tensor, how: str) -> Tensor:
        each = each.to(self.size.dtype)
        if self._whole:
            return each
        start = {"amin": torch.inf, "amax": -torch.inf, "sum": 0.0}[how]
        into = torch.full((self._count + 1,), start, dtype=each.dtype, device=each.device)
        return into.scatter_reduce(0, self._units, each, how)[:-1]

    def _add_at_bounds(self, arranged: Tensor, bounds: tuple[float, float]) -> None:
        margin = _NEAR * (bounds[1] - bounds[0])
        near = (arranged <= bounds[0] + margin) | (arranged >= bounds[1] - margin)
        found = self._by_unit(near.sum((0, 2)), "sum")
        self.at_bounds = found if self.at_bounds is None else self.at_bounds + found

    def _order(self) -> Tensor | None:
        """Where the places of some units are, (units, places of each); None where they have different numbers."""
        many = self._places[self.covered]
        if not len(many) or bool((many != many[0]).any()) or not bool(self.covered.all()):
            return None
        order = torch.argsort(self._units, stable=True)[: int(self._places.sum())]
        order = order.reshape(self._count, -1)
        step = -(-self._count // MOST_UNITS)
        return order[::step]

    def _compare(self, arranged: Tensor, some: Tensor) -> None:
        """Products of a few positions of each example."""
        positions = some.shape[1] * arranged.shape[2]
        step = max(1, positions // _POSITIONS)
        if some.shape[1] == 1:
            few = arranged[:, :, ::step]
            few = few if self._whole and len(some) == self._count else few[:, some[:, 0]]
        else:
            few = arranged[:, some].flatten(2)[:, :, ::step]
        rows = few.movedim(1, -1).flatten(0, 1).to(self.size.dtype)
        assert self._products is not None  # noqa: S101 # there are units to compare
        width = -(-len(self._products) // _BLOCKS)
        for first in range(0, len(self._products), width):
            part = slice(first, first + width)
            self._products[part, first:].addmm_(rows[:, part].mT, rows[:, first:])
        self.sums += rows.sum(0)
        self.rows += len(rows)
        self.zeros.index_add_(0, self.compared, (rows == 0).sum(0).to(self.zeros.dtype))
