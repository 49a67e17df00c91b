"""The training of `kit`, in a loop with Accelerate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import kit

accelerate = pytest.importorskip("accelerate")
from accelerate.state import AcceleratorState

from regrow.integrations.accelerate import attach

VERSION = accelerate.__version__
STOPPED = 5
ACCUMULATES = True
RANKS: dict[str, Any] = {}
SAVED = ("*/optimizer.bin",)
PRECISIONS: dict[str, dict[str, Any]] = {"32": {}, "bf16-mixed": {"mixed_precision": "bf16"}}


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int = kit.STEPS,
    mixed_precision: str = "no",
    quiet: bool = True,
    hold: Callable[[Any], object] = id,
    **options: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved every second step."""
    AcceleratorState._reset_state()  # a process has one, with one precision
    accelerator = accelerate.Accelerator(
        cpu=True, gradient_accumulation_steps=kit.ACCUMULATED, mixed_precision=mixed_precision
    )
    net = kit.Network(kill_at)
    model, optimizer = accelerator.prepare(net, torch.optim.AdamW(net.parameters(), lr=0.003))
    loader = kit.Batches()
    accelerator.register_for_checkpointing(loader)
    report = None
    if recipe is not None:
        regrower = attach(
            accelerator,
            recipe,
            model,
            optimizer,
            loader=loader,
            epochs=kit.EPOCHS,
            example_inputs=kit.IMAGES[:2],
            **options,
        )
        report = regrower.report
        hold(regrower)
    saved = sorted(folder.glob("step-*"))
    step = 0
    if saved:
        accelerator.load_state(str(saved[-1]))
        step = int(saved[-1].name[5:])
    with kit.quietly(quiet):
        while step < stop:
            step = _epoch(
                accelerator, model, optimizer, loader, step=step, stop=stop, folder=folder
            )
    return kit.Ended.of(net, optimizer, report)


def _epoch(
    accelerator: Any, model: Any, optimizer: Any, loader: Any, *, step: int, stop: int, folder: Path
) -> int:
    """What is left of an epoch; the steps made by then."""
    for images, labels in loader:
        with accelerator.accumulate(model):
            accelerator.backward(kit.loss(model(images), labels))
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            step += 1
            if step % 2 == 0:
                accelerator.save_state(str(folder / f"step-{step:02}"))
        if step >= stop:
            break
    return step
