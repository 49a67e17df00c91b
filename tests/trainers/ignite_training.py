"""The training of `kit`, by Ignite's Engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import kit

ignite = pytest.importorskip("ignite")
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver

from regrow.integrations.ignite import RegrowHandler

VERSION = ignite.__version__
STOPPED = 2
ACCUMULATES = True
SAVED = ("*.pt",)
PRECISIONS: dict[str, dict[str, Any]] = {"32": {}, "bf16-mixed": {"autocast": True}}


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int = kit.EPOCHS,
    quiet: bool = True,
    hold: Callable[[Any], object] = id,
    autocast: bool = False,
    **options: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved at the end of each epoch."""
    net = kit.Network(kill_at)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.003)
    loader = kit.Batches()

    def step(engine: Engine, batch: Any) -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            given = kit.loss(net(batch[0]), batch[1])
        given.backward()
        if engine.state.iteration % kit.ACCUMULATED == 0:
            optimizer.step()
            optimizer.zero_grad()
        return given.item()

    trainer = Engine(step)
    handler = None
    if recipe is not None:
        handler = RegrowHandler(recipe, net, optimizer, accumulation=kit.ACCUMULATED, **options)
        handler.attach(trainer)
    parts = {"trainer": trainer, "model": net, "optimizer": optimizer, "loader": loader}
    saving = Checkpoint(
        parts, DiskSaver(str(folder), create_dir=True, require_empty=False), n_saved=None
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saving)
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED(once=stop),
        lambda: trainer.terminate() if stop < kit.EPOCHS else None,
    )
    saved = sorted(folder.glob("*.pt"), key=lambda path: int(path.stem.split("_")[-1]))
    if saved:
        Checkpoint.load_objects(parts, torch.load(saved[-1], weights_only=True))
    with kit.quietly(quiet):
        trainer.run(loader, max_epochs=kit.EPOCHS, epoch_length=kit.BATCHES)
    hold(handler)
    return kit.Ended.of(net, optimizer, None if handler is None else handler.report)
