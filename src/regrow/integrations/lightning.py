"""RegrowCallback for Lightning's Trainer."""

# Lightning is an extra, and not there where types are checked.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from regrow.compose import Recipe
from regrow.errors import MissingExtraError
from regrow.guard import Guard
from regrow.integrations.guest import Course, Guest, Host

try:
    from lightning.pytorch import Callback
except ImportError as error:
    raise MissingExtraError("lightning", extra="lightning") from error


class RegrowCallback(Host, Callback):
    """A recipe in `lightning.pytorch.Trainer`: ``Trainer(callbacks=[RegrowCallback(regrow.KeepAlive())])``.

    It attaches at the first batch of a ``fit``, when model and optimizer are loaded and on their device, and detaches
    at its end. Its state is in the optimizer's in Lightning's own checkpoint: ``fit(ckpt_path=...)`` resumes it bit
    for bit. Length of the training and of an epoch are the trainer's; averages of the model that other callbacks keep
    (`WeightAveraging`, `EMAWeightAveraging`, `StochasticWeightAveraging`) are renewed with it.

    Args:
        recipe: A recipe, or its name.
        settings: Of a recipe that is given by name.
        part: Path of the network in the LightningModule, where ``training_step`` calls that and not ``self(...)``.
        inputs: Takes a batch, gives what the network is called with. None: ``example_input_array`` where the module
            has one, else the first entry of a batch that is a tuple or list, else the batch.
        **options: What else `regrow.attach` takes, such as ``layers``, ``exclude``, ``seed``, ``log``, ``companions``;
            ``total_steps`` under manual optimization, where Lightning does not know it.

    Edge cases:
        A second ``fit`` has optimizers of its own, and is a training of its own: what was renewed in the first has no
        young entries in it. Under manual optimization with several optimizers they must step in the order in which
        ``configure_optimizers`` gives them.
    """

    def __init__(
        self,
        recipe: Recipe | Guard | str,
        *,
        settings: Mapping[str, Any] | None = None,
        part: str | None = None,
        inputs: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self._guest = Guest(recipe, options, settings=settings)
        self._part = part
        self._inputs = inputs

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """A ``fit`` begins."""
        self._guest.begin()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Attach before the first pass."""
        if self._guest.waits:
            model = pl_module.get_submodule(self._part or "")
            # Callbacks keep an average as an AveragedModel, or as a module of the same names.
            kept = [getattr(each, "_average_model", None) for each in trainer.callbacks]
            self._guest.attach(
                model,
                trainer.optimizers,
                inputs=self._example(pl_module, batch),
                course=_course(trainer) if pl_module.automatic_optimization else Course(total=None),
                companions=[each for each in kept if isinstance(each, nn.Module)],
            )

    def _example(self, pl_module: Any, batch: Any) -> Any:
        if self._inputs is not None:
            return self._inputs(batch)
        declared = pl_module.example_input_array
        if declared is not None and self._part is None:
            return declared
        return batch[0] if isinstance(batch, tuple | list) else batch


def _course(trainer: Any) -> Course:
    total, batches = trainer.estimated_stepping_batches, trainer.num_training_batches
    return Course(
        total=int(total) if 0 < total < math.inf else None,
        done=trainer.global_step,
        per_epoch=math.ceil(batches / trainer.accumulate_grad_batches)
        if batches < math.inf
        else None,
    )
