"""What every schedule is: steps of an optimizer, once it knows the length of the training."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final, Never, Protocol, SupportsIndex, runtime_checkable

from regrow.errors import ConfigError


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
            if value is not None and not is_length(value):
                raise ConfigError(
                    f"{name} must be a whole number of at least 1, got {value!r} (attach)"
                )


def is_length(value: object) -> bool:
    """A whole number from 1 on, whoever wrote it: a float of that value counts, and numpy's and torch's numbers do."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex | float):
        return False
    return math.isfinite(value) and value == int(value) and int(value) >= 1


_NOW: Final = {
    "due": "step in schedule.steps",
    "ends": "step + 1 not in schedule.reduced",
    "boundary": "schedule.told",
}


@dataclass(frozen=True, kw_only=True)
class BoundSchedule:
    """A schedule that knows the length of the training: sets of optimizer steps, counted from 0.

    They are looked into at every step. Anything with ``__contains__`` will do; a `range` or a set answers at once,
    if the step is an `int` (numpy's integers are none: a range compares them with all that it has).

    Attributes:
        steps: Those in which the network is looked at.
        last_step: The last one at which something may be due, or None when there is no end.
        reduced: Those that are made without the filters that were dropped, for a recipe that drops: what is out comes
            back right after a step behind which there is none of these.
        told: The first step behind the last boundary that was told, once there is one: written by the training.
    """

    steps: Container[int]
    last_step: int | None
    reduced: Container[int] = ()
    told: set[int] = field(default_factory=set[int], compare=False)

    def __getattr__(self, name: str) -> Never:
        """Methods of earlier versions answer with what has come in their place."""
        if name in _NOW:
            raise AttributeError(f"BoundSchedule.{name}(step) is now: {_NOW[name]}")
        raise AttributeError(f"'BoundSchedule' object has no attribute '{name}'")


@runtime_checkable
class Schedule(Protocol):
    """When to look, in the user's units. Inherit from it: then only `bind` is to be written.

    Attributes:
        brings_back: Whether filters that were dropped come back: a recipe that drops needs that.
        at_boundaries: Whether it listens to `regrow.loop.Regrower.boundary`.
    """

    brings_back: bool = False
    at_boundaries: bool = False

    def notes(self, clock: Clock) -> list[str]:
        """What the user should know of it in a training of this length."""
        del clock
        return []

    @abstractmethod
    def bind(self, clock: Clock, *, where: str) -> BoundSchedule:
        """Convert epochs and shares to optimizer steps, once, before training starts."""


def bound(when: Schedule, clock: Clock, *, where: str) -> BoundSchedule:
    """A schedule in steps; one of an earlier version of regrow, that has methods, is refused here and not in a step."""
    found: object = when.bind(clock, where=where)
    if not isinstance(found, BoundSchedule):  # pyright: ignore[reportUnnecessaryIsInstance] # users bring their own
        raise ConfigError(
            f"{type(when).__name__}.bind must give a regrow.schedule.BoundSchedule(steps=..., last_step=...), got a "
            f"{type(found).__name__} ({where})"
        )
    return found
