"""Turns: whose units are compared with each other while a batch passes, so that memory does not grow with depth.

Called by `health/forward.py` around each batch. A comparison needs a matrix from its first batch to its last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from regrow.health.products import ROWS_A_UNIT
from regrow.health.unit_reading import UnitReading

ROOM: Final = 4 * 1024**2 * 8
"""Bytes of all matrices that are there at a time: four of the largest, whatever the network's depth."""


class Turns:
    """All layers at once where there is room, over all batches; else one after the other, each until it has enough."""

    def __init__(self, readings: Iterable[UnitReading]) -> None:  # in the order of the forward pass
        self._waiting = deque(each for each in readings if each.products is not None)
        self._open: list[UnitReading] = []
        self._taken = sum(_nbytes(each) for each in self._waiting) > ROOM

    def begin(self, *, last: bool) -> None:
        """A batch is about to pass; `last`: no other one follows."""
        held = sum(_nbytes(each) for each in self._open)
        while self._waiting and held + _nbytes(self._waiting[0]) <= ROOM:
            reading = self._waiting.popleft()
            held += _nbytes(reading)
            self._open.append(reading)
            assert reading.products is not None  # noqa: S101 # or it would not wait
            reading.products.open(everything=not self._taken)
        if last:
            # Whoever has had no turn is compared on this batch alone, one matrix after the other.
            for reading in self._waiting:
                assert reading.products is not None  # noqa: S101 # or it would not wait
                reading.products.once = True

    def end(self, *, last: bool) -> None:
        """It has passed."""
        if not (last or self._taken):
            return
        still: list[UnitReading] = []
        for reading in self._open:
            products = reading.products
            assert products is not None  # noqa: S101 # or it would not be open
            if last or reading.broken or products.enough:
                products.close()
            elif not products.rows:  # nothing came to this branch: another time, perhaps
                products.close()
                self._waiting.append(reading)
            else:
                still.append(reading)
        self._open = still

    def notes(self) -> tuple[str, ...]:
        """What a reader of the report must know of it."""
        if not self._taken:
            return ()
        return (
            "ranks, zeros and likeness of activations over all batches: layers took turns, each on as many batches as "
            f"give {ROWS_A_UNIT} positions a unit, or on the last one",
        )


def _nbytes(reading: UnitReading) -> int:
    return 0 if reading.products is None else reading.products.nbytes
