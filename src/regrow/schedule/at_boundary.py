"""AtBoundary: where the user says that the task changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow.schedule.base import BoundSchedule, Clock, Schedule


@final
class _FirstSteps(BoundSchedule):
    """Due in the first step behind each boundary, as it is told."""

    def __init__(self) -> None:
        self._first = -1

    @property
    def last_step(self) -> int | None:
        """Nobody knows how many boundaries there are."""
        return None

    def due(self, step: int) -> bool:
        """Whether the step is the first one behind the last boundary."""
        return step == self._first

    def boundary(self, step: int) -> None:
        """Remember the step."""
        self._first = step


@final
@dataclass(frozen=True, kw_only=True)
class AtBoundary(Schedule):
    """Where the user says that the task changes: `regrow.loop.Regrower.boundary`.

    A change of the whole network is made at once, between the last step of the old task and the first one of the new.
    Filters are chosen in the first step of the new task, by what that step shows, and renewed right after it.

    Examples:
        >>> schedule = AtBoundary().bind(Clock(), where="doc")
        >>> schedule.boundary(7)
        >>> [step for step in range(9) if schedule.due(step)]
        [7]
    """

    at_boundaries = True

    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Nothing to convert: boundaries are told while the training goes on.

        Args:
            clock: Not used.
            where: Not used.

        Returns:
            The schedule, which waits for the first boundary.
        """
        del clock, where
        return _FirstSteps()
