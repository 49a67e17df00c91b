"""RegrowCallback for the Trainer of Hugging Face Transformers."""

# transformers is an extra, and not there where types are checked.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

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
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtraError("transformers", extra="transformers") from error


class RegrowCallback(Host, TrainerCallback):
    """A recipe in `transformers.Trainer`: ``Trainer(..., callbacks=[RegrowCallback(regrow.KeepAlive())])``.

    It attaches right before the first training pass, with what the model is called with, and detaches at the end of
    ``train()``. Its state is in ``optimizer.pt`` of the trainer's own checkpoints, and is resumed bit for bit by
    ``train(resume_from_checkpoint=...)``. Length of the training and of an epoch are the trainer's.

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
