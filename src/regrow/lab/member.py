"""One network of a trial in training: its weights, its optimizer, its order of the images.

Made by `lab/assembly`; a `lab/run` has one or several, and an engine trains them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regrow.graph import Filters, trace
from regrow.lab import assembly
from regrow.lab.data.augment import crop_flip
from regrow.losses import overlap_penalty
from regrow.streams import tasks
from regrow.streams.task import Task
from regrow.study.generator_keys import generator_key, partner_seed

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.lab.teaching import Teaching
    from regrow.loop import Regrower
    from regrow.study.document import Training
    from regrow.study.task_stream import LossName
    from regrow.study.trials import TrialSpec

STEP_SHARE = 0.3
"""With ``schedule = "step"`` the rate falls after each such share of the training: the papers' 60 of 200 epochs."""


class Member:
    """A network of a trial, and how it is trained.

    The initial weights depend on its seed alone, the order of the images and torch's global generator (dropout) on seed
    and epoch: arms of one seed are paired, and an interrupted trial needs no generator's state to go on.
    """

    def __init__(
        self, spec: TrialSpec, data: Dataset, *, place: int = 0, teaching: Teaching | None = None
    ) -> None:
        self._spec, self._data, self._teaching = spec, data, teaching
        self.training, self.device = spec.train, data.x_train.device
        self.loss: LossName = spec.loss  # what it learns
        self._seed = partner_seed(spec.seed, place)
        self.steps_per_epoch = assembly.steps_of(spec, data)
        # Its learning rate before any schedule.
        self.lr = partner_rate(spec.train, place=place, partners=spec.partners)
        self.regrower: Regrower | None = None  # the recipe at work in it, or None; set by the trial
        self._task: tuple[int, Task] | None = None
        self._begin(self._seed)
        # The layers whose filters' overlap is part of the loss.
        self._apart: Sequence[Filters] = ()
        if spec.train.overlap_penalty:
            self._apart = trace(self.model, data.x_train[:2]).renewable()

    def _begin(self, seed: int) -> None:
        """A fresh network and optimizer."""
        self.model = assembly.build_model(self._spec, self._data, seed=seed)
        self.optimizer = assembly.build_optimizer(self._spec.train, self.model, lr=self.lr)

    def restart(self, number: int) -> None:
        """A fresh network and optimizer; data order and budget go on."""
        self._begin(generator_key("restart", self._seed, number))

    # ---- what it is trained on, and how

    @property
    def seen_in_epoch(self) -> int:
        """Images that an epoch trains on."""
        there = assembly.images_per_epoch(self._spec, len(self._data.x_train))
        return min(self.steps_per_epoch * self.training.batch_size, there)

    def task(self, epoch: int) -> Task:
        """The task that an epoch is in; without a stream there is one, the data set."""
        stream, data = self._spec.stream, self._data
        if stream is None:
            return Task(
                images=data.x_train,
                labels=data.y_train,
                test_images=data.x_test,
                test_labels=data.y_test,
            )
        index = stream.task_of(epoch) - 1
        if self._task is None or self._task[0] != index:
            self._task = index, tasks.task(stream, data, seed=self._seed, index=index)
        return self._task[1]

    def noise_key(self, epoch: int) -> int:
        """The seed of torch's global generator in an epoch, for dropout."""
        return generator_key("noise", self._seed, epoch)

    def order(self, epoch: int) -> Tensor:
        """The order of the images that an epoch trains on."""
        stream, count = self._spec.stream, len(self.task(epoch).images)
        if stream is None:
            return assembly.epoch_order(self._seed, epoch=epoch, examples=count)
        batch_size = self.training.batch_size
        return tasks.order(
            stream, seed=self._seed, epoch=epoch, images=count, batch_size=batch_size
        )

    def moves(self, epoch: int) -> torch.Generator:
        """Where an epoch's augmentation comes from."""
        return torch.Generator().manual_seed(generator_key("augment", self._seed, epoch))

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The batches of an epoch."""
        moves, task = self.moves(epoch), self.task(epoch)
        for batch in self._splits(epoch):
            yield batch, self._seen(task.images[batch], moves), task.labels[batch]

    def last_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """The last batch of the first epoch, the smallest of all: indices, images and classes."""
        batch, task = self._splits(1)[-1], self.task(1)
        return batch, self._seen(task.images[batch], self.moves(1)), task.labels[batch]

    def _splits(self, epoch: int) -> Sequence[Tensor]:
        """The indices of an epoch's batches."""
        order = self.order(epoch).to(self.device)
        return order.split(self.training.batch_size)[: self.steps_per_epoch]

    def _seen(self, images: Tensor, moves: torch.Generator) -> Tensor:
        """The images of a batch as the network sees them."""
        if self.training.augment == "crop-flip":
            images = crop_flip(images, moves)
        if self.training.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images

    def set_rate(self, epoch: int, step: int) -> None:
        """Give the optimizer the learning rate of a step."""
        training = self.training
        if training.schedule != "constant" or training.warm_up_steps or training.anneal_epochs:
            done = (epoch - 1) * self.steps_per_epoch + step
            rate = self.lr * decay(training, done, per_epoch=self.steps_per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    def beside(self, outputs: Tensor, images: Tensor, batch: Tensor) -> list[Tensor]:
        """What is added to the loss of the classes."""
        found: list[Tensor] = []
        if self._apart:
            weight = self._spec.train.overlap_penalty
            found.append(overlap_penalty(self.model, self._apart, weight=weight))
        if self._teaching is not None:
            found.append(self._teaching.loss(outputs, images, batch))
        return found

    def state(self) -> dict[str, Any]:
        """Everything that its next epoch depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "regrower": None if self.regrower is None else self.regrower.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.regrower is not None:
            self.regrower.load_state_dict(state["regrower"])


def partner_rate(training: Training, *, place: int, partners: int) -> float:
    """The learning rate of one of several networks: of ``spread``, lr * (1 + cos(pi (K - i) / K)) / 2, i = 1 ... K.

    Source:
        ``spread``: the released code of Filter Grafting (Meng et al. 2020).
    """
    if training.partner_rates == "same":
        return training.lr
    return training.lr * 0.5 * (1.0 + math.cos(math.pi * (partners - place - 1) / partners))


def decay(training: Training, done: int, *, per_epoch: int) -> float:
    """What the learning rate is multiplied by."""
    steps = per_epoch * training.epochs
    annealed = min(1.0, (steps - done) / (per_epoch * training.anneal_epochs or 1))
    warmed = min(1.0, (done + 1) / (training.warm_up_steps or 1))
    return warmed * annealed * _scheduled(training, done, share=done / steps)


def _scheduled(training: Training, done: int, *, share: float) -> float:
    """The schedule's part of it."""
    if training.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * share))
    if training.schedule == "step":
        # A share that is a whole number of thirds and tenths in exact arithmetic must not miss its step by a rounding.
        return 0.1 ** math.floor(share / STEP_SHARE + 1e-9)
    if training.schedule == "staircase" and training.stair_steps is not None:
        return training.stair_factor ** (done // training.stair_steps)
    return 1.0
