"""Permuted pixels: the same classes, and in each task another order of the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.streams.task import Source, Task, dice, drawn
from regrow.study.stream import Permuted


def task(
    settings: Permuted, source: Source, *, seed: int, index: int, rule: int | None = None
) -> Task:
    """Images drawn for the task, and the test images, with their pixels in the task's order, or in that of task `rule`.

        new[..., p] = old[..., order[p]],    p over the H * W positions, row by row; the same in all channels

    The first task is permuted as well: all tasks are equally hard.

    Source:
        Goodfellow et al., "An Empirical Investigation of Catastrophic Forgetting in Gradient-Based Neural Networks",
        2013; as a test of plasticity: Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024,
        and Kumar, Marklund, Van Roy, CoLLAs 2024 (10,000 images, one pass, batches of 16).
    """
    images, labels = drawn(source, settings.images, dice("images", seed, index))
    pixels, own = images[0, 0].numel(), index if rule is None else rule
    places = torch.randperm(pixels, generator=dice("pixels", seed, own), device="cpu")
    return Task(
        images=_permuted(images, places),
        labels=labels,
        test_images=_permuted(source.x_test, places),
        test_labels=source.y_test,
    )


def _permuted(images: Tensor, places: Tensor) -> Tensor:
    return images.flatten(2)[:, :, places.to(images.device)].view_as(images)
