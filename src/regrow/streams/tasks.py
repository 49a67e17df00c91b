"""Any kind of stream: its tasks, the order of an epoch, how much an epoch trains on, and what chance has.

Called by `lab/member.py` and `lab/preflight.py`. All of it follows from settings, data, seed and number alone: whoever
asks, and whenever, has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from regrow.errors import ConfigError
from regrow.streams import (
    bit_flipping,
    class_incremental,
    interpolated,
    noisy,
    permuted,
    permuted_labels,
    random_labels,
    stationary,
    warm_start,
)
from regrow.streams.task import Source, Task, dice
from regrow.study import stream as asked
from regrow.study.task_stream import TaskStream

_TASKS: Final[dict[type[Any], Callable[..., Task]]] = {
    asked.RandomLabels: random_labels.task,
    asked.Permuted: permuted.task,
    asked.PermutedLabels: permuted_labels.task,
    asked.Stationary: stationary.task,
    asked.WarmStart: warm_start.task,
    asked.ClassIncremental: class_incremental.task,
    asked.Interpolated: interpolated.task,
    asked.Noisy: noisy.task,
    asked.BitFlipping: bit_flipping.task,
}


def task(settings: asked.AnyStream, source: Source, *, seed: int, index: int) -> Task:
    """A task of a stream.

    Args:
        settings: What the study says of it.
        source: What it draws from. Read, never written.
        seed: Of the trial.
        index: Number of the task, from 0.

    Returns:
        Its images and labels, on the source's device.

    Examples:
        >>> from regrow.lab import data
        >>> digits = data.load("digits")
        >>> settings = asked.RandomLabels(kind="random-labels", tasks=2, epochs=1, images=5)
        >>> [task(settings, digits, seed=0, index=index).labels.tolist() for index in (0, 1)]
        [[0, 2, 5, 4, 9], [8, 8, 3, 6, 2]]
    """
    return _TASKS[type(settings)](settings, source, seed=seed, index=index)


def order(settings: TaskStream, *, seed: int, epoch: int, images: int, batch_size: int) -> Tensor:
    """The places of the images of a task in the order in which an epoch trains on them.

    A random order of all; where the task's length is said in steps, as many such orders one behind the other as it
    takes, cut off behind the last step. Examples of `bit-flipping` are met as they were made, for bits flip in between;
    of `interpolated` the same images are met as of the kind that its tasks are of, each as the task has it by then.

    They are whole numbers below `images`, which the task has, as many as `images_per_epoch` says. Epochs are counted
    from 1, over all tasks.
    """
    if isinstance(settings, asked.BitFlipping):
        return torch.arange(images, device="cpu")

    def places(count: int) -> Tensor:
        numbers = dice("order", seed, epoch)
        wanted = count if settings.steps is None else settings.steps * batch_size
        passes = [
            torch.randperm(count, generator=numbers, device="cpu")
            for _ in range(-(-wanted // count))
        ]
        return torch.cat(passes)[:wanted]

    if isinstance(settings, asked.Interpolated):
        return interpolated.order(settings, places, seed=seed, epoch=epoch, images=images)
    return places(images)


def images_per_epoch(settings: TaskStream, *, available: int, batch_size: int) -> int:
    """How many images an epoch trains on, each as often as it is met, of the training images `available`."""
    if settings.steps is not None:
        return settings.steps * batch_size
    if isinstance(settings, asked.BitFlipping):
        return settings.examples
    return getattr(settings, "images", None) or available


def refuse_data(settings: TaskStream, source: Source) -> None:
    """Refuse a stream that asks for more than there is."""
    if isinstance(settings, asked.ClassIncremental):
        class_incremental.refuse_classes(settings, source)
    wanted: Any = getattr(settings, "images", None)
    available = len(source.x_train)
    if wanted is not None and wanted > available:
        raise ConfigError(
            f"stream.images: must be at most {available}, the training images, got {wanted}"
        )


def chance(settings: TaskStream, source: Source) -> float | None:
    """What a network reaches that has learnt nothing: the share of the commonest class, or 1 / K of drawn labels.

    None where numbers are learnt, of which each seed has its own.
    """
    if settings.loss == "squared":
        return None
    if isinstance(settings, asked.ClassIncremental):
        return class_incremental.chance(settings, source)
    if isinstance(settings, asked.Interpolated):
        return chance(settings.base, source)
    if isinstance(settings, asked.RandomLabels) and settings.labels == "drawn":
        return 1 / len(source.classes)
    counted = source.y_train if isinstance(settings, asked.RandomLabels) else source.y_test
    return int(counted.bincount().max()) / len(counted)
