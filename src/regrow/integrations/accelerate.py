"""attach for Hugging Face Accelerate."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any

from torch import nn

from regrow.compose import Recipe
from regrow.guard import Guard
from regrow.integrations.guest import Course, Guest
from regrow.loop import Regrower


def attach(
    accelerator: Any,
    recipe: Recipe | Guard | str,
    model: nn.Module,
    optimizer: object,
    *,
    loader: Sized | None = None,
    epochs: int | None = None,
    example_inputs: Any = None,
    **options: Any,
) -> Regrower:
    """`regrow.attach` in a loop with an `Accelerator`, whose ``save_state`` and ``load_state`` take its state along.

    Call it behind ``accelerator.prepare``, before ``accelerator.load_state`` or behind it. The state is in the
    optimizer's, so that ``optimizer.bin`` of the accelerator's checkpoint has it.

    Args:
        accelerator: The `accelerate.Accelerator`; asked for the batches that make one step.
        recipe: A recipe, or its name.
        model: What ``prepare`` gave.
        optimizer: What ``prepare`` gave; several in a list, in the order in which they step.
        loader: The training's loader as ``prepare`` gave it: with `epochs` it says how long the training is.
        epochs: Of the whole training.
        example_inputs: A small batch, as for `regrow.attach`.
        **options: What else `regrow.attach` takes.

    Returns:
        The `Regrower`.

    Edge cases:
        What `regrow.attach` refuses is refused here.

    Examples:
        >>> import torch, regrow
        >>> from accelerate import Accelerator
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
        >>> accelerator = Accelerator(cpu=True)
        >>> model, optimizer = accelerator.prepare(net, torch.optim.AdamW(net.parameters()))
        >>> batch = torch.zeros(2, 1, 8, 8)
        >>> regrower = attach(accelerator, "keepalive", model, optimizer, example_inputs=batch, total_steps=100)
        >>> regrower.report.layers
        {'0': 4}
    """
    per_epoch = None
    if loader is not None:
        per_epoch = math.ceil(len(loader) / accelerator.gradient_accumulation_steps)
    total = None if per_epoch is None or epochs is None else per_epoch * epochs
    guest = Guest(recipe, options)
    course = Course(total=total, done=None, per_epoch=per_epoch)
    return guest.attach(model, optimizer, inputs=example_inputs, course=course)
