"""Random labels: one set of images, and in each task new labels that say nothing about them."""

from __future__ import annotations

import torch

from regrow.streams.task import Source, Task, dice, drawn
from regrow.study.stream import RandomLabels


def task(
    settings: RandomLabels, source: Source, *, seed: int, index: int, rule: int | None = None
) -> Task:
    """The images of the seed, with labels of the task or of task `rule`; it is tested on what it is trained on.

    Each task must be learnt by heart, and none is easier than another: whatever is lost from task to task is the
    network's ability to learn.

    Source:
        Lyle, Rowland, Dabney, "Understanding and Preventing Capacity Loss in Reinforcement Learning", ICLR 2022;
        Kumar, Marklund, Van Roy, "Maintaining Plasticity in Continual Learning via Regenerative Regularization",
        CoLLAs 2024, whose released code shuffles the true labels (``labels = "dealt"``).
    """
    images, labels = drawn(source, settings.images, dice("images", seed))
    numbers = dice("labels", seed, index if rule is None else rule)
    if settings.labels == "drawn":
        new = torch.randint(len(source.classes), (len(labels),), generator=numbers, device="cpu")
    else:
        new = labels.cpu()[torch.randperm(len(labels), generator=numbers, device="cpu")]
    new = new.to(labels.device)
    return Task(images=images, labels=new, test_images=images, test_labels=new)
