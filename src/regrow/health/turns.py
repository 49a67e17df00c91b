"""Turns: whose units are compared with each other while a batch passes, so that memory does not grow with depth.

Called by `health/forward.py` around each batch. A comparison needs a matrix from its first batch to its last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from regrow.health.products import ROWS_A_UNIT, Products
from regrow.health.unit_reading import UnitReading

ROOM: Final = 4 * 1024**2 * 8
"""Bytes of all matrices that are there at a time: four of the largest, whatever the network's depth."""


class Turns:
    """All layers at once where there is room, over all batches; else one after the other, each until it has enough."""

    def __init__(self, readings: Iterable[UnitReading]) -> None:  # in the order of the forward pass
        self._waiting = deque(
            (each, each.products) for each in readings if each.products is not None
        )
        self._open: list[tuple[UnitReading, Products]] = []
        self._taken = sum(products.nbytes for _, products in self._waiting) > ROOM

    def begin(self, *, last: bool) -> None:
        """A batch is about to pass; `last`: no other one follows."""
        held = sum(products.nbytes for _, products in self._open)
        while self._waiting and held + self._waiting[0][1].nbytes <= ROOM:
            reading, products = self._waiting.popleft()
            held += products.nbytes
            self._open.append((reading, products))
            products.open(everything=not self._taken)
        if last:
            # Whoever has had no turn is compared on this batch alone, one matrix after the other.
            for _, products in self._waiting:
                products.once = True

    def end(self, *, last: bool) -> None:
        """It has passed."""
        if not (last or self._taken):
            return
        still: list[tuple[UnitReading, Products]] = []
        for reading, products in self._open:
            if last or reading.broken or products.enough:
                products.close()
            elif not products.rows:  # nothing came to this branch: another time, perhaps
                products.close()
                self._waiting.append((reading, products))
            else:
                still.append((reading, products))
        self._open = still

    def notes(self) -> tuple[str, ...]:
        """What a reader of the report must know of it."""
        if not self._taken:
            return ()
        return (
            "ranks, zeros and likeness of activations over all batches: layers took turns, each on as many batches as "
            f"give {ROWS_A_UNIT} positions a unit, or on the last one",
        )
