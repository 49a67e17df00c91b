"""Guest: a recipe in a loop that belongs to somebody else. What all callbacks share.

A callback says when a training begins and ends, how long it is, and what is trained; the regrower's state travels in
the optimizer's (`regrow.loop.state_in_optimizer`), which every trainer saves and loads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, final

from torch import nn

from regrow.compose import Recipe
from regrow.errors import ConfigError
from regrow.graph import unwrap
from regrow.guard import Guard
from regrow.history import Report
from regrow.loop import Regrower, attach
from regrow.loop.first_call import at_first_call
from regrow.loop.start.arguments import optimizers_of
from regrow.loop.state_in_optimizer import StateInOptimizer, brought
from regrow.recipes import build
from regrow.recipes.guarded import guard_alone


@final
@dataclass(frozen=True, kw_only=True)
class Course:
    """A training in its trainer's own count of optimizer steps."""

    total: int | None  # of the whole training; None where it has no end
    # Before this moment: not 0 where it was resumed, or where the trainer counts on. None where it does not count:
    # whatever came with the optimizer was resumed.
    done: int | None = 0
    per_epoch: int | None = None  # of an epoch; None where nobody knows


class Guest:
    """Attaches a recipe to what a trainer trains, once in a training."""

    def __init__(
        self,
        recipe: Recipe | Guard | str,  # a recipe, or its name, with its defaults or with `settings`
        # What else `regrow.attach` is given. ``total_steps`` and ``steps_per_epoch`` are the trainer's unless they are
        # among them.
        options: Mapping[str, Any],
        *,
        # Of a recipe that is named, as in a configuration file.
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if settings and not isinstance(recipe, str):
            raise ConfigError(
                "settings are for a recipe that is given by name: give them to the recipe itself"
            )
        made = build(recipe, settings or {}) if isinstance(recipe, str) else recipe
        if isinstance(made, Guard):
            made = guard_alone(made)
        if not isinstance(made, Recipe):
            raise ConfigError(
                f"recipe must be a Recipe for one network, or its name, got {recipe!r}"
            )
        self.recipe = made  # what is attached
        self.options = dict(options)  # what else `regrow.attach` is given
        # What it gave, of the latest training; None before the first.
        self.regrower: Regrower | None = None
        self.waits = True  # whether nothing is attached yet in this training
        self._call_off: Callable[[], None] | None = None

    def begin(self) -> None:
        """A training begins: what is still attached belongs to an earlier one, which was broken off."""
        self.end()
        self.waits = True

    def end(self) -> None:
        """The training has ended. The state goes on being saved with the optimizer."""
        if self._call_off is not None:
            self._call_off()
            self._call_off = None
        if self.regrower is not None:
            self.regrower.detach()

    def attach(
        self, model: nn.Module, optimizer: object, *, inputs: Any, course: Course, **found: Any
    ) -> Regrower:
        """Attach, and go on from the state that came with the optimizer.

        `inputs` are not used where ``example_inputs`` or ``wiring`` is among the options; `found` is what else the
        trainer has for `regrow.attach`, unless it is among them.
        """
        last = optimizers_of(optimizer)[-1]
        saved = brought(last, self.recipe.info.name)
        # The clock is the trainer's. It begins anew with an optimizer that has been trained with before, and goes on
        # in a training that was resumed; steps that a gradient scaler has skipped are in the trainer's count only.
        offset = course.done or 0
        if saved is not None:
            offset = -saved["state"]["step"] if course.done == 0 else saved["offset"]
        given: dict[str, Any] = {
            "total_steps": None if course.total is None else course.total - offset,
            "steps_per_epoch": course.per_epoch,
            **found,
            **self.options,
        }
        if "wiring" not in given:
            given.setdefault("example_inputs", inputs)
        self.regrower = attach(self.recipe, model, optimizer, **given)
        self.waits = False
        StateInOptimizer(self.regrower, last).offset = offset
        return self.regrower

    def attach_at_first_call(self, model: nn.Module, optimizer: object, *, course: Course) -> None:
        """The same once the model is called in training, with what it is called with."""

        def before(args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            self._call_off = None
            names = list(signature(unwrap(model).forward).parameters)[: len(args)]
            inputs: Any = {**dict(zip(names, args, strict=True)), **named} if named else args
            self.attach(model, optimizer, inputs=inputs, course=course)

        self._call_off = at_first_call(model, before)


class Host:
    """What every callback shows of its guest."""

    _guest: Guest

    @property
    def regrower(self) -> Regrower | None:
        """What `regrow.attach` gave, of the latest training; None before the first has begun."""
        return self._guest.regrower

    @property
    def report(self) -> Report | None:
        """What happened so far in the latest training; None before its first pass."""
        return None if self._guest.regrower is None else self._guest.regrower.report

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """A training has ended, by the name that most trainers call."""
        self._guest.end()
