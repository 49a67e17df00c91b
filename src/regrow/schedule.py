"""When a recipe looks at the network: optimizer step in, yes or no out."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol, SupportsIndex, final, runtime_checkable

from regrow._checks import check_choice, check_flag, check_fraction, check_whole
from regrow._renamed import renamed
from regrow.errors import ConfigError, NoEffectWarning


@dataclass(frozen=True, kw_only=True)
class Clock:
    """How long the training is, as far as the user has said.

    Attributes:
        total_steps: Optimizer steps of the whole training, or None.
        steps_per_epoch: Optimizer steps of one epoch, or None.
    """

    total_steps: int | None = None
    steps_per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no whole number from 1 on."""
        for name, value in (
            ("total_steps", self.total_steps),
            ("steps_per_epoch", self.steps_per_epoch),
        ):
            if value is not None and not _is_length(value):
                raise ConfigError(
                    f"{name} must be a whole number of at least 1, got {value!r} (attach)"
                )


def _is_length(value: object) -> bool:
    """A whole number from 1 on, whoever wrote it: a float of that value counts, and numpy's and torch's numbers do."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex | float):
        return False
    return math.isfinite(value) and value == int(value) and int(value) >= 1


class BoundSchedule(Protocol):
    """A schedule that knows the length of the training: everything in optimizer steps."""

    @property
    @abstractmethod
    def last_step(self) -> int | None:
        """The last step at which something may be due, or None when there is no end."""

    @abstractmethod
    def due(self, step: int) -> bool:
        """Whether the network is looked at in this step (0-based)."""

    def ends(self, step: int) -> bool:
        """Whether filters that were dropped come back right after this step."""
        del step
        return False


@runtime_checkable
class Schedule(Protocol):
    """When to look, in the user's units. Inherit from it: then only `bind` is to be written.

    Attributes:
        brings_back: Whether filters that were dropped come back: a recipe that drops needs that.
    """

    brings_back: bool = False

    def notes(self, clock: Clock) -> list[str]:
        """What the user should know of it in a training of this length."""
        del clock
        return []

    @abstractmethod
    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Convert epochs and shares to optimizer steps, once, before training starts."""


@final
@dataclass(frozen=True)
class _EverySteps(BoundSchedule):
    every: int
    active_steps: int | None

    @property
    def last_step(self) -> int | None:
        """The end of the active part, or None."""
        return None if self.active_steps is None else self.active_steps - 1

    def due(self, step: int) -> bool:
        """At the last step of each interval, while the active part lasts."""
        return (step + 1) % self.every == 0 and (
            self.active_steps is None or step < self.active_steps
        )


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
        >>> [step for step in range(40) if schedule.due(step)]
        [9, 19]
        >>> schedule = Every(steps=10, at_end=False).bind(Clock(total_steps=40), where="doc")
        >>> [step for step in range(40) if schedule.due(step)]
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
            if value is not None and not _is_length(value):
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
        return _EverySteps(every, active)


@final
@dataclass(frozen=True)
class AtSteps(Schedule, BoundSchedule):
    """At steps that are known beforehand, such as those of a run that is to be copied.

    Args:
        steps: Optimizer steps, 0-based.
    """

    steps: frozenset[int]

    @classmethod
    def of(cls, steps: Iterable[int]) -> AtSteps:
        """Build from any collection of steps."""
        return cls(frozenset(steps))

    @property
    def last_step(self) -> int | None:
        """The last of the steps; -1 where there is none."""
        return max(self.steps, default=-1)

    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Nothing to convert: the steps are absolute.

        Args:
            clock: The length of the training.
            where: Which recipe, for messages.

        Returns:
            Itself.

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
        return self

    def due(self, step: int) -> bool:
        """Whether the step is one of them."""
        return step in self.steps


@final
@dataclass(frozen=True)
class _CycleSteps(BoundSchedule):
    full: int
    reduced: int
    cycles: int
    total: int | None

    @property
    def last_step(self) -> int | None:
        """The end of the last cycle."""
        return self.fitting * (self.full + self.reduced) - 1

    @property
    def fitting(self) -> int:
        """Cycles after which there is a step left to train what came back."""
        if self.total is None:
            return self.cycles
        return min(self.cycles, max(self.total - 1, 0) // (self.full + self.reduced))

    def reduces(self, step: int) -> bool:
        """Whether a step is made with the reduced network."""
        cycle, within = divmod(step, self.full + self.reduced)
        return cycle < self.fitting and within >= self.full

    def due(self, step: int) -> bool:
        """At the end of each part with the full network."""
        return not self.reduces(step) and self.reduces(step + 1)

    def ends(self, step: int) -> bool:
        """Wherever the next step is made with the full network: filters that an earlier schedule left out come back."""
        return not self.reduces(step + 1)


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
        >>> [step for step in range(12) if schedule.due(step)]
        [2, 7]
        >>> [step for step in range(12) if not schedule.ends(step)]  # what is out stays out
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
        bound = _CycleSteps(self.s1 * scale, self.s2 * scale, self.cycles, total)
        if bound.fitting < self.cycles:
            warnings.warn(
                f"{where}: {self.cycles} cycles take {self.cycles * (bound.full + bound.reduced)} steps and training "
                f"after them, and the training ends after {total}: {bound.fitting} are made (shorter s1 and s2, "
                "or a longer training, make more)",
                NoEffectWarning,
                stacklevel=3,
            )
        return bound
