"""Warm start: first a share of the images, then all of them."""

from __future__ import annotations

import torch

from regrow.streams.task import Source, Task, dice
from regrow.study.stream import WarmStart


def task(settings: WarmStart, source: Source, *, seed: int, index: int) -> Task:
    """A share of the training images in the first task, all of them in the second; tested on the test images.

    A network that has seen the share first often generalises worse in the end than one that begins with all. With
    ``first_labels = "random"`` the first task teaches nothing, and the gap is larger.

    Source:
        Ash, Adams, "On Warm-Starting Neural Network Training", NeurIPS 2020 (half of the images first, trained until
        99 % of them are right; here both tasks have a fixed number of steps). Random labels first: Lyle et al.,
        "Understanding Plasticity in Neural Networks", ICML 2023.
    """
    images, labels = source.x_train, source.y_train
    if index == 0:
        count = max(1, round(settings.share * len(images)))
        rows = torch.randperm(len(images), generator=dice("share", seed), device="cpu")[:count]
        images, labels = (each[rows.to(each.device)] for each in (images, labels))
        if settings.first_labels == "random":
            classes, numbers = len(source.classes), dice("labels", seed)
            new = torch.randint(classes, (count,), generator=numbers, device="cpu")
            labels = new.to(labels.device)
    return Task(images=images, labels=labels, test_images=source.x_test, test_labels=source.y_test)
