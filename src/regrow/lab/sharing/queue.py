"""The runs that wait for a worker, and which of them are trained side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from regrow.lab.sharing.segments import Kinds, Segment

_LOOK: Final = 100
"""How many runs are passed over in search of those that fit into a stack."""

Turn = Literal["begin", "wait", "drop"]
"""What becomes of a run that is at the front: it begins, waits for others to end, or never can begin."""


class RunQueue:
    """Runs in the order in which they begin.

    Args:
        runs: Those to begin with.
        stack_size: How many a worker trains side by side at most.
    """

    def __init__(self, runs: Iterable[Segment], *, stack_size: int) -> None:
        self._runs = deque(runs)
        self._stack_size = stack_size
        self._kinds = Kinds()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._runs)

    def put_first(self, *runs: Segment) -> None:
        """Let runs be the next to begin.

        Args:
            *runs: In their order.
        """
        self._runs.extendleft(reversed(runs))

    def next(self, turn: Callable[[Segment], Turn]) -> Segment | None:
        """Take the first run that can begin; those that wait keep their places.

        Args:
            turn: Says what becomes of a run; asked in their order.

        Returns:
            The run; None where there is none.
        """
        waits: list[Segment] = []
        found: Segment | None = None
        while self._runs and found is None:
            run = self._runs.popleft()
            says = turn(run)
            if says == "begin":
                found = run
            elif says == "wait":
                waits.append(run)
        self.put_first(*waits)
        return found

    def beside(self, first: Segment, *, most: int) -> list[Segment]:
        """Take runs from the front part of the queue that can be trained in one stack with a run.

        Args:
            first: The run.
            most: How many there may be with it.

        Returns:
            The others.
        """
        found: list[Segment] = []
        passed: list[Segment] = []
        kind, room = self._kinds.of(first), min(self._stack_size, first.beside, most)
        while kind and self._runs and len(found) + 1 < room and len(passed) < _LOOK:
            run = self._runs.popleft()
            fits = self._kinds.of(run) == kind and not run.after and len(found) + 1 < run.beside
            (found if fits else passed).append(run)
            room = min(room, run.beside) if fits else room
        self.put_first(*passed)
        return found
