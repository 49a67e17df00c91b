"""A training on two ranks, started by `test_lightning.py` as users start one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lightning.pytorch as pl

from regrow.integrations.lightning import RegrowCallback
from trainers import kit
from trainers.lightning_training import Module


class Save(pl.Callback):
    """What each rank has at the end."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        report = next(each for each in trainer.callbacks if isinstance(each, RegrowCallback)).report
        weights = dict(pl_module.named_parameters())
        events = [(each.step, each.layer, list(each.filters)) for each in report.events]
        torch.save(
            {"weights": weights, "events": events}, f"{self.folder}/{trainer.global_rank}.pt"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = torch.utils.data.TensorDataset(kit.IMAGES, kit.LABELS)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[RegrowCallback(kit.dead()), Save(sys.argv[1])],
    )
    trainer.fit(Module(None), torch.utils.data.DataLoader(rows, batch_size=2))
