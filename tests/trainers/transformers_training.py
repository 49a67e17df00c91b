"""The training of `kit`, by the Trainer of Transformers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from trainers import kit

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from transformers.trainer_utils import get_last_checkpoint

from regrow.integrations.transformers import RegrowCallback

transformers.logging.set_verbosity_error()

VERSION = transformers.__version__
STOPPED = 5
ACCUMULATES = True
RANKS: dict[str, Any] = {"ddp_backend": "gloo"}
SAVED = ("*/optimizer.pt",)
PRECISIONS: dict[str, dict[str, Any]] = {"32": {}, "bf16-mixed": {"bf16": True}}


class Model(nn.Module):
    """The network as the Trainer calls it."""

    def __init__(self, kill_at: int | None) -> None:
        super().__init__()
        self.network = kit.Network(kill_at)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.network(x)
        return (
            {"logits": logits}
            if labels is None
            else {"loss": kit.loss(logits, labels), "logits": logits}
        )


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int | None = None,
    exclude: Sequence[str] = (),
    quiet: bool = True,
    hold: Callable[[Any], object] = id,
    again: bool = False,
    **settings: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved every second step."""
    model = Model(kill_at)
    ours = [] if recipe is None else [RegrowCallback(recipe, exclude=exclude)]
    rows = [
        {"x": image, "labels": label} for image, label in zip(kit.IMAGES, kit.LABELS, strict=True)
    ]
    stopping = [] if stop is None else [_Stop(stop)]
    with kit.quietly(quiet):
        trainer = transformers.Trainer(
            model,
            transformers.TrainingArguments(
                **{
                    "output_dir": str(folder),
                    "num_train_epochs": kit.EPOCHS,
                    "per_device_train_batch_size": kit.BATCH,
                    "gradient_accumulation_steps": kit.ACCUMULATED,
                    "learning_rate": 0.003,
                    "save_strategy": "steps",
                    "save_steps": 2,
                    "eval_strategy": "steps",
                    "eval_steps": 2,
                    "logging_strategy": "no",
                    "disable_tqdm": True,
                    "use_cpu": True,
                    "report_to": [],
                    **settings,
                }
            ),
            train_dataset=rows,
            eval_dataset=rows[:8],
            callbacks=[*ours, *stopping],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        last = get_last_checkpoint(str(folder)) if folder.exists() else None
        trainer.train(resume_from_checkpoint=last)
        if again:
            trainer.train()
    hold(ours[0] if ours else None)
    return kit.Ended.of(model, trainer.optimizer, ours[0].report if ours else None)


class _Stop(transformers.TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step >= self.step:
            control.should_training_stop = True
