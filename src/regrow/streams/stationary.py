"""Nothing changes: images are drawn anew in each task, and that is all."""

from __future__ import annotations

from regrow.streams.task import Source, Task, dice, drawn
from regrow.study.stream import Stationary


def task(settings: Stationary, source: Source, *, seed: int, index: int) -> Task:
    """Images drawn for the task, with their classes: those that `permuted` draws, with their pixels in order.

    Where a recipe loses here, it harms a network that learns well.
    """
    images, labels = drawn(source, settings.images, dice("images", seed, index))
    return Task(images=images, labels=labels, test_images=source.x_test, test_labels=source.y_test)
