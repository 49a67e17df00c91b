"""Cycles: the full network, a part of it, and again."""

from __future__ import annotations

import operator
import warnings
from dataclasses import dataclass
from typing import Literal, SupportsIndex, final

from regrow._checks import check_choice, check_whole
from regrow._renamed import renamed
from regrow.errors import ConfigError, NoEffectWarning
from regrow.schedule.base import BoundSchedule, Clock, Schedule


@final
@dataclass(frozen=True)
class _ReducedSteps:
    """Behind the full part of each of some cycles."""

    full: int
    length: int
    cycles: int

    def __contains__(self, step: object) -> bool:
        if not isinstance(step, SupportsIndex):
            return False
        cycle, within = divmod(operator.index(step), self.length)
        return cycle < self.cycles and within >= self.full


@final
@renamed({"full": "s1", "reduced": "s2"})
@dataclass(frozen=True, kw_only=True)
class Cycles(Schedule):
    """Train the full network, then a part of it, and again; afterwards the full network to the end.

    A cycle that cannot end before the last step of a training is not begun: it would leave filters out, or untrained.

    Args:
        s1: Length of a part with the full network, at least 1. The name is RePr's.
        s2: Length of a part with the reduced network, at least 1.
        cycles: How many times, at least 1.
        unit: ``epochs`` or ``steps``.

    Raises:
        ConfigError: A length that is not a whole number of at least 1, or another unit.

    Examples:
        >>> schedule = Cycles(s1=3, s2=2, cycles=2, unit="steps").bind(Clock(), where="doc")
        >>> [step for step in range(12) if step in schedule.steps]
        [2, 7]
        >>> [step for step in range(12) if step + 1 in schedule.reduced]  # what is out stays out
        [2, 3, 7, 8]
    """

    s1: int
    s2: int
    cycles: int
    unit: Literal["epochs", "steps"] = "epochs"

    brings_back = True

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("s1", "s2", "cycles"):
            check_whole(getattr(self, name), name=name, where="schedule", least=1)
        check_choice(self.unit, ("epochs", "steps"), name="unit", where="schedule")

    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Convert to optimizer steps.

        Args:
            clock: The length of the training.
            where: Which recipe, for messages.

        Returns:
            The schedule in steps.

        Raises:
            ConfigError: Epochs, and the clock does not know how long they are.

        Edge cases:
            Cycles that do not fit into the training are left out, with a NoEffectWarning.
        """
        scale = 1
        if self.unit == "epochs":
            if clock.steps_per_epoch is None:
                raise ConfigError(
                    f"s1={self.s1} and s2={self.s2} epochs need attach(steps_per_epoch=...), or set unit='steps' "
                    f"({where})"
                )
            scale = clock.steps_per_epoch
        total = clock.total_steps
        full, length = int(self.s1 * scale), int((self.s1 + self.s2) * scale)
        # After the last cycle a step must be left to train what came back.
        fitting = (
            self.cycles if total is None else min(self.cycles, int(max(total - 1, 0) // length))
        )
        if fitting < self.cycles:
            warnings.warn(
                f"{where}: {self.cycles} cycles take {self.cycles * length} steps and training after them, and the "
                f"training ends after {total}: {fitting} are made (shorter s1 and s2, or a longer training, make more)",
                NoEffectWarning,
                stacklevel=3,
            )
        end = fitting * length
        return BoundSchedule(
            steps=range(full - 1, end, length),
            last_step=end - 1,
            reduced=_ReducedSteps(full, length, fitting),
        )
