"""The training of `kit`, by skorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import kit

skorch = pytest.importorskip("skorch")
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, LoadInitState

from regrow.integrations.skorch import RegrowCallback

VERSION = skorch.__version__
STOPPED = 2
ACCUMULATES = False
SAVED = ("optimizer.pt",)
PRECISIONS: dict[str, dict[str, Any]] = {"32": {}}


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int = kit.EPOCHS,
    quiet: bool = True,
    hold: Callable[[Any], object] = id,
    **options: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved at the end of each epoch."""
    saving = Checkpoint(dirname=str(folder), monitor=None)
    done = 0
    if (folder / "history.json").exists():
        done = len(skorch.history.History.from_file(str(folder / "history.json")))
    net = NeuralNetClassifier(
        kit.Network,
        module__kill_at=kill_at,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=0.003,
        batch_size=kit.BATCH,
        max_epochs=stop - done,
        train_split=None,
        verbose=0,
        callbacks=[
            *([] if recipe is None else [("regrow", RegrowCallback(recipe, **options))]),
            saving,
            LoadInitState(saving),
        ],
    )
    with kit.quietly(quiet):
        net.fit(kit.IMAGES, kit.LABELS)
    ours = dict(net.callbacks_).get("regrow")
    report = None if ours is None else ours.report
    hold(ours)
    return kit.Ended.of(net.module_, net.optimizer_, report)
