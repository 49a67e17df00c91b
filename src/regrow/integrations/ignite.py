"""RegrowHandler for the Engine of PyTorch-Ignite."""

# ignite is an extra, and not there where types are checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from regrow.compose import Recipe
from regrow.errors import MissingExtraError
from regrow.guard import Guard
from regrow.integrations.guest import Course, Guest, Host

try:
    from ignite.engine import Events
except ImportError as error:
    raise MissingExtraError("pytorch-ignite", extra="ignite") from error


class RegrowHandler(Host):
    """A recipe in an `ignite.engine.Engine`: ``RegrowHandler(recipe, model, optimizer).attach(trainer)``.

    It attaches right before the first training pass of a run, with what the model is called with, and detaches at the
    run's end. Its state is in the optimizer's: ``Checkpoint({"trainer": ..., "model": ..., "optimizer": ...})`` saves
    it, and ``Checkpoint.load_objects`` resumes it bit for bit. The length of the training is the engine's.

    Args:
        recipe: A recipe, or its name.
        model: What the engine's function calls, also inside DistributedDataParallel.
        optimizer: What it steps; several in a list, in the order in which they step.
        settings: Of a recipe that is given by name.
        accumulation: Iterations of the engine in an optimizer step.
        **options: What else `regrow.attach` takes, such as ``layers``, ``exclude``, ``seed``, ``log``, ``companions``.

    Edge cases:
        Where the pass is made inside ``optimizer.step(closure)``, give ``example_inputs``: then it attaches when the
        run begins.
    """

    def __init__(
        self,
        recipe: Recipe | Guard | str,
        model: nn.Module,
        optimizer: object,
        *,
        settings: Mapping[str, Any] | None = None,
        accumulation: int = 1,
        **options: Any,
    ) -> None:
        self._guest = Guest(recipe, options, settings=settings)
        self._model, self._optimizer = model, optimizer
        self._accumulation = accumulation

    def attach(self, engine: Any) -> None:
        """Act in the runs of an `ignite.engine.Engine`."""
        engine.add_event_handler(Events.STARTED, self._begin)
        engine.add_event_handler(Events.COMPLETED, self._guest.end)

    def _begin(self, engine: Any) -> None:
        state, each = engine.state, self._accumulation
        batches: int | None = state.epoch_length
        total: int | None = getattr(state, "max_iters", None)
        if batches is not None and state.max_epochs is not None:
            total = batches * state.max_epochs
        course = Course(
            total=None if total is None else math.ceil(total / each),
            done=state.iteration // each,
            per_epoch=None if batches is None else math.ceil(batches / each),
        )
        self._guest.begin()
        if self._guest.options.keys() & {"example_inputs", "wiring"}:
            self._guest.attach(self._model, self._optimizer, inputs=None, course=course)
        else:
            self._guest.attach_at_first_call(self._model, self._optimizer, course=course)
