"""Permuted labels: the same images, and in each task the classes' names exchanged."""

from __future__ import annotations

import torch

from regrow.streams.task import Source, Task, dice, drawn
from regrow.study.stream import PermutedLabels


def task(
    settings: PermutedLabels, source: Source, *, seed: int, index: int, rule: int | None = None
) -> Task:
    """Images drawn for the task; class k is called names[k] there, or in task `rule`, in training and in the test.

    What the hidden layers have learnt stays of use, only the output is to be learnt anew.

    Source:
        Elsayed, Mahmood, "Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning", ICLR 2024
        (label-permuted EMNIST and CIFAR-10: 2,500 steps of batch 1).
    """
    images, labels = drawn(source, settings.images, dice("images", seed, index))
    numbers = dice("names", seed, index if rule is None else rule)
    names = torch.randperm(len(source.classes), generator=numbers, device="cpu").to(labels.device)
    return Task(
        images=images,
        labels=names[labels],
        test_images=source.x_test,
        test_labels=names[source.y_test],
    )
