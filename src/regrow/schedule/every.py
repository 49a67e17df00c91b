"""Every: at regular intervals, during the first part of the training or all of it."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from typing import final

from regrow._checks import check_flag, check_fraction
from regrow.errors import ConfigError, NoEffectWarning
from regrow.schedule.base import BoundSchedule, Clock, Schedule, is_length


@final
@dataclass(frozen=True, kw_only=True)
class Every(Schedule):
    """At regular intervals during the first part of the training.

    Due at step t (0-based) when (t + 1) is a multiple of the interval and t < round(active_fraction * total_steps);
    with ``at_end=False`` only if t < total_steps - 1 besides.

    Args:
        steps: Interval in optimizer steps. Give this or `epochs`, not both; neither means every step.
        epochs: Interval in epochs.
        active_fraction: Share of the training, from its start, in which anything is due: the paper's
            P. 1 = all of it.
        at_end: Whether anything is due at the very last step of the training, after which nobody trains what was
            changed. False leaves that step out, where ``total_steps`` is known; it makes no difference where it is not.
        prefix: What `steps` and `epochs` begin with where they were written: ``every_`` in recipes. For messages alone.
        needs_end: False: where ``total_steps`` is not known, all of the training is active, instead of an error.

    Raises:
        ConfigError: An interval below 1 or not whole, both intervals, a share outside [0, 1], or an `at_end` that is
            neither true nor false.

    Examples:
        >>> schedule = Every(steps=10, active_fraction=0.5).bind(Clock(total_steps=40), where="doc")
        >>> [step for step in range(40) if step in schedule.steps]
        [9, 19]
        >>> schedule = Every(steps=10, at_end=False).bind(Clock(total_steps=40), where="doc")
        >>> [step for step in range(40) if step in schedule.steps]
        [9, 19, 29]
    """

    steps: int | None = None
    epochs: int | None = None
    active_fraction: float = 1.0
    at_end: bool = True
    prefix: str = field(default="", repr=False, compare=False)
    needs_end: bool = field(default=True, repr=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.steps is not None and self.epochs is not None:
            raise ConfigError(
                f"give {self.prefix}steps or {self.prefix}epochs, not both, got {self.steps} and {self.epochs} "
                "(schedule)"
            )
        for name, value in (("steps", self.steps), ("epochs", self.epochs)):
            if value is not None and not is_length(value):
                raise ConfigError(
                    f"{self.prefix}{name} must be a whole number of at least 1, got {value!r} (schedule)"
                )
        check_fraction(self.active_fraction, name="active_fraction", where="schedule")
        check_flag(self.at_end, name="at_end", where="schedule")

    def notes(self, clock: Clock) -> list[str]:
        """That the end is not known, where it would matter.

        Args:
            clock: The length of the training.

        Returns:
            One note, or none.
        """
        if clock.total_steps is None and self.active_fraction < 1.0 and not self.needs_end:
            return [
                "total_steps is not known, so that units are renewed until the end of the training; told it, the last "
                f"{1 - self.active_fraction:.0%} of the steps are left to train what was renewed"
            ]
        return []

    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Convert to optimizer steps.

        Args:
            clock: The length of the training.
            where: Which recipe, for messages.

        Returns:
            The schedule in steps.

        Raises:
            ConfigError: The clock lacks what the conversion needs.

        Edge cases:
            Nothing would ever be due: a NoEffectWarning, and the training runs untouched.
        """
        every = 1 if self.steps is None else self.steps
        if self.epochs is not None:
            if clock.steps_per_epoch is None:
                raise ConfigError(
                    f"{self.prefix}epochs={self.epochs} needs attach(steps_per_epoch=...) ({where})"
                )
            every = self.epochs * clock.steps_per_epoch
        active: int | None = None
        known = clock.total_steps is not None
        if known or (self.active_fraction < 1.0 and self.needs_end):
            if clock.total_steps is None:
                raise ConfigError(
                    f"active_fraction={self.active_fraction} needs attach(total_steps=...), "
                    f"or set active_fraction=1.0 ({where})"
                )
            active = round(self.active_fraction * clock.total_steps)
            left_out = ""
            if not self.at_end and active == clock.total_steps:
                active, left_out = active - 1, " (nothing is due at the last one: at_end=False)"
            if every > active:
                warnings.warn(
                    f"{where} will never act: its first check is due after {every} steps, "
                    f"and its active part ends after {active} of {clock.total_steps}{left_out}",
                    NoEffectWarning,
                    stacklevel=3,
                )
        # Without an end as far as integers are counted: a range takes no memory, and is asked without a call.
        steps = range(int(every) - 1, sys.maxsize if active is None else active, int(every))
        return BoundSchedule(steps=steps, last_step=None if active is None else active - 1)
