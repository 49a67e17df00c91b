"""Tasks that move: from the last task to the next in a share of the steps, in place of all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from regrow.streams import permuted, permuted_labels, random_labels
from regrow.streams.task import Source, Task, dice
from regrow.study.stream import Interpolated

LEVELS: Final = 9
"""Of a blend, where the study does not say."""

_BASES: Final[dict[str, Callable[..., Task]]] = {
    "random-labels": random_labels.task,
    "permuted": permuted.task,
    "permuted-labels": permuted_labels.task,
}


def task(settings: Interpolated, source: Source, *, seed: int, index: int) -> Task:
    """The task of that number of the other kind, and behind its images what stands between it and the last task.

        sample   its images as it has them; the same images as the last task has them
        blend    its images x' as it has them; (1 - a) x + a x' for a = 1/(L+1) ... L/(L+1), x as the last task has them

    Which of these an epoch trains on, and when, is said by `order`. It is tested on the task as it is when it has
    moved in. The tasks themselves have the bits of the other kind's with the same seed, so that a stream that moves and
    one that jumps can be compared.

    Source:
        Liu, Mou, "Do Neural Networks Lose Plasticity in a Gradually Changing World?", 2026: ``blend`` is its
        interpolation of inputs, ``sample`` its task sampling. It interpolates labels as well, as targets between the
        classes: cross-entropy is linear in the target, so ``sample`` has the same gradient on the average. Its move is
        in some twenty levels of some epochs each, and follows the task; here it comes first, example by example.
    """
    make, base = _BASES[settings.of], settings.base
    here = make(base, source, seed=seed, index=index)
    if index == 0:
        return here
    last = make(base, source, seed=seed, index=index, rule=index - 1)
    between = [(last.images, last.labels)]
    if settings.how == "blend":
        count = _blocks(settings) - 1
        shares = [level / (count + 1) for level in range(1, count + 1)]
        between = [((1 - a) * last.images + a * here.images, here.labels) for a in shares]
    return Task(
        images=torch.cat([here.images, *(images for images, _ in between)]),
        labels=torch.cat([here.labels, *(labels for _, labels in between)]),
        test_images=here.test_images,
        test_labels=here.test_labels,
    )


def order(
    settings: Interpolated, places: Callable[[int], Tensor], *, seed: int, epoch: int, images: int
) -> Tensor:
    """The places of an epoch's images, each in the part of the task that it is in by then.

    Of the j-th image that the task shows, counted from 0 over all its epochs:

        a_j = (j + 1) / (M + 1) for j < M, else 1;    M = moving * (what the task shows), rounded
        sample   as the task has it with probability a_j, else as the last task has it
        blend    at level 1 + j L // M of L for j < M, else as the task has it

    `places` gives the order in which an epoch of the other kind meets so many images; `images` counts all that stands
    between the task and the last one too.
    """
    if settings.task_of(epoch) == 1:
        return places(images)
    own = images // _blocks(settings)
    met = places(own)
    every = settings.epochs_per_task * len(met)
    moved = round(settings.moving * every)
    first = (epoch - 1) % settings.epochs_per_task * len(met)
    number = torch.arange(first, first + len(met), device="cpu")
    if settings.how == "blend":
        level = 1 + number * (_blocks(settings) - 1) // max(1, moved)
        return met + own * torch.where(number < moved, level, 0)
    share = ((number + 1).double() / (moved + 1)).clamp(max=1.0)
    drawn = torch.rand(
        len(met), generator=dice("moved", seed, epoch), dtype=torch.float64, device="cpu"
    )
    return met + own * (drawn >= share)


def _blocks(settings: Interpolated) -> int:
    """How often a task that moves has each image."""
    return 1 + (1 if settings.how == "sample" else settings.levels or LEVELS)
