"""AtBoundary: where the user says that the task changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow.schedule.base import BoundSchedule, Clock, Schedule


@final
@dataclass(frozen=True, kw_only=True)
class AtBoundary(Schedule):
    """Where the user says that the task changes: `regrow.loop.Regrower.boundary`.

    A change of the whole network is made at once, between the last step of the old task and the first one of the new.
    Filters are chosen in the first step of the new task, by what that step shows, and renewed right after it.

    Examples:
        >>> schedule = AtBoundary().bind(Clock(), where="doc")
        >>> schedule.told.add(7)  # a boundary in front of step 7
        >>> [step for step in range(9) if step in schedule.steps]
        [7]
    """

    at_boundaries = True

    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Nothing to convert: boundaries are told while the training goes on, and nobody knows how many there are."""
        del clock, where
        told: set[int] = set()
        return BoundSchedule(steps=told, last_step=None, told=told)
