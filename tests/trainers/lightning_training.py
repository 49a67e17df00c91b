"""The training of `kit`, by Lightning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers import kit

pl = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.callbacks import ModelCheckpoint

from regrow.integrations.lightning import RegrowCallback

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

VERSION = pl.__version__
STOPPED = 5
ACCUMULATES = True
RANKS: dict[str, Any] = {"devices": 2, "strategy": "ddp"}
SAVED = ("*.ckpt",)
PRECISIONS = {
    "32": {"precision": "32-true"},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "bf16": {"precision": "bf16-true"},
}


class Module(pl.LightningModule):
    """The network as a LightningModule."""

    def __init__(self, kill_at: int | None) -> None:
        super().__init__()
        self.network = kit.Network(kill_at)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        return kit.loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, index: int) -> Tensor:
        return kit.loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.003)


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int = kit.STEPS,
    exclude: Sequence[str] = (),
    quiet: bool = True,
    hold: Callable[[Any], object] = id,
    **settings: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved every second step."""
    module = Module(kill_at)
    ours = [] if recipe is None else [RegrowCallback(recipe, exclude=exclude)]
    saving = ModelCheckpoint(folder, every_n_train_steps=2, save_last=True, save_top_k=-1)
    settings.setdefault("callbacks", [])
    with kit.quietly(quiet):
        trainer = pl.Trainer(
            **{
                "accelerator": "cpu",
                "max_epochs": kit.EPOCHS,
                "accumulate_grad_batches": kit.ACCUMULATED,
                "val_check_interval": 3,
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                **settings,
                "callbacks": [*ours, saving, _Stop(stop), *settings["callbacks"]],
            }
        )
        loader, resumed = kit.Batches(), (folder / "last.ckpt").exists()
        trainer.fit(
            module,
            loader,
            kit.Batches(),
            ckpt_path=str(folder / "last.ckpt") if resumed else None,
            weights_only=True,
        )
    report = ours[0].report if ours else None
    hold(ours[0] if ours else None)
    return kit.Ended.of(module.network, trainer.optimizers[0], report)


class _Stop(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.step
