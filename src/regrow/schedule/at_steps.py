"""AtSteps: at steps that are known beforehand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from regrow.errors import NoEffectWarning
from regrow.schedule.base import BoundSchedule, Clock, Schedule


@final
@dataclass(frozen=True)
class AtSteps(Schedule):
    """At steps that are known beforehand, such as those of a run that is to be copied.

    Args:
        steps: Optimizer steps, 0-based.
    """

    steps: frozenset[int]

    @classmethod
    def of(cls, steps: Iterable[int]) -> AtSteps:
        """Build from any collection of steps."""
        return cls(frozenset(steps))

    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Nothing to convert: the steps are absolute.

        Edge cases:
            Steps after the end of the training: a NoEffectWarning, and they are never reached.
        """
        late = [step for step in self.steps if step >= (clock.total_steps or math.inf)]
        if late:
            warnings.warn(
                f"{where} will not act at {len(late)} of its {len(self.steps)} steps: the training ends after "
                f"{clock.total_steps} steps, and the last of them is step {max(late)}",
                NoEffectWarning,
                stacklevel=3,
            )
        return BoundSchedule(steps=self.steps, last_step=max(self.steps, default=-1))
