"""Products: what units of one layer give, compared with each other: who says the same, how many directions there are.

Held by `health/unit_reading.py`; which layers are compared while a batch passes is said by `health/turns.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from regrow.health.duplicates import largest_cosine
from regrow.health.pass_values import exact
from regrow.health.spectrum import effective_rank, share_rank, singular_values

MOST_UNITS: Final = 1024
"""Of more units these many, evenly spaced, are compared with each other: the products of all would fill the memory."""

ROWS_A_UNIT: Final = 2
"""A turn is over with so many: fewer than one a unit would bound the rank."""

_POSITIONS: Final = 8
"""Positions of each example, evenly spaced, to twice as many, whose values are compared and ranked."""

_BLOCKS: Final = 8
"""Products are symmetric: of so many blocks of columns only those with later ones are worked out."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """What was found; no matrix."""

    # By unit the largest correlation with another one's, (O,) on the CPU; -1 for those not compared.
    largest: Tensor
    numbers: Mapping[str, float]  # of what they give, by measure: ranks, and the share that is 0


class Products:
    """H^T H of a few positions of each example, one matrix from `open` to `close`."""

    def __init__(self, units: Tensor, some: Tensor, count: int) -> None:
        # What was found when it was closed; None before that, and where nothing came or it was not finite.
        self.found: Likeness | None = None
        self.rows = 0  # how many positions have come
        # The next call is compared alone, and the matrix is gone when it has passed.
        self.once = False
        self._count = count  # units of the layer
        # Where those that are compared have their places, (units, places of each).
        self._some = some
        self._units = units[some[:, 0]]  # which they are
        # Every place, one after the other.
        self._whole = torch.equal(some.flatten(), torch.arange(len(units), device=units.device))
        self._matrix: Tensor | None = None
        self._wanted: int | None = None

    @property
    def nbytes(self) -> int:
        """Of the matrix while it is there."""
        return len(self._units) ** 2 * exact(self._units.device).itemsize

    @property
    def enough(self) -> bool:
        """Whether a turn may end."""
        return self.rows >= ROWS_A_UNIT * len(self._units)

    def open(self, *, everything: bool) -> None:
        """Begin; with `everything` a few positions of each example that comes, else so many as soon make enough."""
        count, device = len(self._units), self._units.device
        self._matrix = torch.zeros(count, count, dtype=exact(device), device=device)
        self._sums = torch.zeros_like(self._matrix[0])
        self._zeros = 0
        self._wanted = None if everything else ROWS_A_UNIT * count

    def take(self, arranged: Tensor) -> None:
        """One call's values, (examples, places, positions)."""
        if self.once and self.rows == 0:
            self.open(everything=False)
        if self._matrix is None:
            return
        few = self._rows(arranged)
        self._zeros += few.numel() - int(few.count_nonzero())
        rows = few.to(self._sums.dtype)
        width = -(-len(self._matrix) // _BLOCKS)
        for first in range(0, len(self._matrix), width):
            part = slice(first, first + width)
            self._matrix[part, first:].addmm_(rows[:, part].mT, rows[:, first:])
        self._sums += rows.sum(0)
        self.rows += len(rows)
        if self.once:
            self.close()

    def close(self) -> None:
        """Make numbers of the matrix, and let it go."""
        if self._matrix is None:
            return
        upper, self._matrix = self._matrix.triu(), None
        if not self.rows or not bool(upper.isfinite().all()):
            return
        products = upper + upper.triu(1).mT
        values = singular_values(products)
        largest = torch.full((self._count,), -1.0, dtype=products.dtype, device="cpu")
        covariance = _covariance(products, self._sums, self.rows)
        largest[self._units.cpu()] = largest_cosine(covariance).cpu()
        numbers = {
            "effective_rank": float(effective_rank(values)),
            "srank": float(share_rank(values)),
            "zeros": self._zeros / (self.rows * len(self._units)),
        }
        self.found = Likeness(largest=largest, numbers=numbers)

    def _rows(self, arranged: Tensor) -> Tensor:
        """Some positions of each example, one a row."""
        some, positions = self._some, self._some.shape[1] * arranged.shape[2]
        least = _POSITIONS
        if self._wanted is not None:
            least = max(least, -(-(self._wanted - self.rows) // len(arranged)))
        spaced: slice | Tensor = slice(None, None, max(1, positions // least))
        if self._wanted is not None and least < positions:  # no more than are wanted
            spaced = torch.arange(least, device=arranged.device) * positions // least
        if some.shape[1] == 1:
            few = arranged[:, :, spaced]
            few = few if self._whole else few[:, some[:, 0]]
        else:
            few = arranged[:, some].flatten(2)[:, :, spaced]
        return few.movedim(1, -1).flatten(0, 1)


def products_of(units: Tensor, count: int) -> Products | None:
    """Of an outlet with these units at its places, (P,), `count` = none of the layer's; None where some have more."""
    many = torch.bincount(units, minlength=count + 1)[:count]
    if not count or bool((many != many[0]).any()) or not bool(many[0]):
        return None
    order = torch.argsort(units, stable=True)[: int(many.sum())].reshape(count, -1)
    return Products(units, order[:: -(-count // MOST_UNITS)], count)


def _covariance(products: Tensor, sums: Tensor, rows: int) -> Tensor:
    mean = sums / rows
    covariance = products / rows - torch.outer(mean, mean)
    # What is left of a difference of equal numbers is rounding and no spread.
    own = covariance.diagonal()
    return covariance.where(own > 1e-9 * products.diagonal() / rows, 0.0)
