"""Wrong labels: a share of them, throughout or in the first tasks."""

from __future__ import annotations

import torch

from regrow.streams.task import Source, Task, dice
from regrow.study.stream import Noisy


def task(settings: Noisy, source: Source, *, seed: int, index: int) -> Task:
    """All training images, a share of them with the label of another class; tested on the test images.

    Which images have wrong labels, and which, is drawn once for each seed: the network meets the same mistakes in
    every pass. Each of the other classes is equally likely (symmetric noise); exactly the asked share is wrong, to the
    nearest image.

    Source:
        The setting is that of Zaidi et al., "When Does Re-initialization Work?", 2022, who find that it helps under
        label noise even where regularisation is tuned; the tasks and lengths are ours.
    """
    images, labels = source.x_train, source.y_train
    if settings.noisy_tasks is None or index < settings.noisy_tasks:
        numbers, classes = dice("noise", seed), len(source.classes)
        wrong = torch.randperm(len(labels), generator=numbers, device="cpu")
        wrong = wrong[: round(settings.noise * len(labels))]
        moved = torch.randint(1, classes, (len(wrong),), generator=numbers, device="cpu")
        new = labels.cpu().clone()
        new[wrong] = (new[wrong] + moved) % classes
        labels = new.to(labels.device)
    return Task(images=images, labels=labels, test_images=source.x_test, test_labels=source.y_test)
