"""The training of `kit`, in a loop with Accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import kit

accelerate = pytest.importorskip("accelerate")

from regrow.integrations.accelerate import attach  # noqa: E402


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int = kit.STEPS,
    mixed_precision: str = "no",
    **options: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved every second step."""
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
    saved = sorted(folder.glob("step-*"))
    step = 0
    if saved:
        accelerator.load_state(str(saved[-1]))
        step = int(saved[-1].name[5:])
    while step < stop:
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
    return kit.Ended.of(net, optimizer, report)
