"""The training of `kit`, by skorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import kit

skorch = pytest.importorskip("skorch")
from skorch import NeuralNetClassifier  # noqa: E402
from skorch.callbacks import Checkpoint, LoadInitState  # noqa: E402

from regrow.integrations.skorch import RegrowCallback  # noqa: E402


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int = kit.EPOCHS,
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
    net.fit(kit.IMAGES, kit.LABELS)
    report = None if recipe is None else dict(net.callbacks_)["regrow"].report
    return kit.Ended.of(net.module_, net.optimizer_, report)
