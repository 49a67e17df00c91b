"""The training of `kit`, by the Trainer of Transformers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from trainers import kit

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from transformers.trainer_utils import get_last_checkpoint  # noqa: E402

from regrow.integrations.transformers import RegrowCallback  # noqa: E402

transformers.logging.set_verbosity_error()


class Model(nn.Module):
    """The network as the Trainer calls it."""

    def __init__(self, kill_at: int | None) -> None:
        super().__init__()
        self.network = kit.Network(kill_at)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.network(x)
        return {"logits": logits} if labels is None else {"loss": kit.loss(logits, labels), "logits": logits}


def train(
    folder: Path,
    recipe: Any,
    *,
    kill_at: int | None = None,
    stop: int | None = None,
    callback: Callable[[Any], Any] = RegrowCallback,
    again: bool = False,
    **settings: Any,
) -> kit.Ended:
    """From the newest checkpoint in the folder, if there is one; saved every second step."""
    model = Model(kill_at)
    ours = [] if recipe is None else [callback(recipe)]
    rows = [{"x": image, "labels": label} for image, label in zip(kit.IMAGES, kit.LABELS, strict=True)]
    stopping = [] if stop is None else [_Stop(stop)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = transformers.Trainer(
            model,
            transformers.TrainingArguments(
                **{
                    **dict(output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True),
                    **dict(save_strategy="steps", save_steps=2, num_train_epochs=kit.EPOCHS),
                    **dict(per_device_train_batch_size=kit.BATCH, logging_strategy="no"),
                    **dict(gradient_accumulation_steps=kit.ACCUMULATED, learning_rate=0.003),
                    **dict(eval_strategy="steps", eval_steps=2),
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
    return kit.Ended.of(model, trainer.optimizer, ours[0].report if ours else None)


class _Stop(transformers.TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.global_step >= self.step:
            control.should_training_stop = True
