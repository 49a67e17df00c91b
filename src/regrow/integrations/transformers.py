"""RegrowCallback for the Trainer of Hugging Face Transformers."""

# transformers is an extra, and not there where types are checked.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from regrow.errors import MissingExtraError
from regrow.integrations.guest import Course, Guest

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtraError("transformers", extra="transformers") from error

if TYPE_CHECKING:
    from torch import nn

    from regrow.compose import Recipe
    from regrow.guard import Guard
    from regrow.history import Report
    from regrow.loop import Regrower


class RegrowCallback(TrainerCallback):
    """A recipe in `transformers.Trainer`: ``Trainer(..., callbacks=[RegrowCallback(regrow.KeepAlive())])``.

    It attaches right before the first training pass, with what the model is called with, and detaches at the end of
    ``train()``. Its state is in ``optimizer.pt`` of the trainer's own checkpoints: ``train(resume_from_checkpoint=...)``
    resumes it bit for bit. Length of the training and of an epoch are the trainer's.

    Attributes:
        regrower: Of the latest ``train()``; None before its first pass.

    Args:
        recipe: A recipe, or its name.
        settings: Of a recipe that is given by name.
        **options: What else `regrow.attach` takes, such as ``layers``, ``exclude``, ``seed``, ``log``, ``companions``.

    Edge cases:
        A second ``train()`` of one trainer has the same optimizer, with what it remembers: the regrower remembers too,
        and its report goes on.
    """

    def __init__(
        self,
        recipe: Recipe | Guard | str,
        *,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._guest = Guest(recipe, options, settings=settings)

    @property
    def regrower(self) -> Regrower | None:
        """What `regrow.attach` gave, of the latest ``train()``."""
        return self._guest.regrower

    @property
    def report(self) -> Report | None:
        """What happened so far in the latest ``train()``."""
        return self._guest.report

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        *,
        model: nn.Module,
        optimizer: Any,
        train_dataloader: Any = None,
        **others: Any,
    ) -> None:
        """A ``train()`` begins: model and optimizer are there, and loaded."""
        self._guest.begin()
        sized = hasattr(train_dataloader, "__len__")
        batches = len(train_dataloader) if sized else 0
        self._guest.attach_at_first_call(
            model,
            optimizer,
            course=Course(
                total=state.max_steps,
                done=state.global_step,
                per_epoch=math.ceil(batches / args.gradient_accumulation_steps) or None,
            ),
        )

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """A ``train()`` ends."""
        self._guest.end()
