"""Every kind of stream against a slow oracle of plain Python lists, which knows the protocol and the random numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from regrow.errors import ConfigError
from regrow.streams import tasks
from regrow.streams.task import Task, dice
from regrow.study.stream import (
    KINDS,
    AnyStream,
    Noisy,
    Permuted,
    PermutedLabels,
    RandomLabels,
    Stationary,
    WarmStart,
)

CLASSES = 3
N, M, SHAPE = 14, 5, (2, 2, 3)


@dataclass(frozen=True)
class Few:
    """A few images that are all different in every number."""

    x_train: Tensor = field(default_factory=lambda: torch.arange(N * 12.0).view(N, *SHAPE))
    y_train: Tensor = field(default_factory=lambda: torch.tensor([0, 1, 2, 0, 1, 2, 0] * 2))
    x_test: Tensor = field(default_factory=lambda: 1000 + torch.arange(M * 12.0).view(M, *SHAPE))
    y_test: Tensor = field(default_factory=lambda: torch.tensor([2, 2, 1, 0, 2]))
    classes: tuple[str, ...] = ("a", "b", "c")


DATA = Few()


def shuffled(count: int, numbers: torch.Generator) -> list[int]:
    """A random order, as torch draws it."""
    return [int(place) for place in torch.randperm(count, generator=numbers)]


def whole(low: int, high: int, count: int, numbers: torch.Generator) -> list[int]:
    return [int(one) for one in torch.randint(low, high, (count,), generator=numbers)]


def lists(
    data: Few,
) -> tuple[list[list[list[float]]], list[int], list[list[list[float]]], list[int]]:
    """Images as lists of channels as lists of pixels, row by row."""

    def flat(images: Tensor) -> list[list[list[float]]]:
        return [
            [[float(p) for row in channel for p in row] for channel in image] for image in images
        ]

    return flat(data.x_train), data.y_train.tolist(), flat(data.x_test), data.y_test.tolist()


Oracle = tuple[list[Any], list[int], list[Any], list[int]]


def sampled(asked: Any, seed: int, index: int) -> list[int]:
    """Which images a task has."""
    if asked.images is None:
        return list(range(N))
    return shuffled(N, dice("images", seed, index))[: asked.images]


def random_labels(asked: RandomLabels, seed: int, index: int) -> Oracle:
    x, y, _, _ = lists(DATA)
    chosen = sampled(asked, seed, 0)
    numbers = dice("labels", seed, index)
    if asked.labels == "drawn":
        labels = whole(0, CLASSES, len(chosen), numbers)
    else:
        labels = [y[chosen[place]] for place in shuffled(len(chosen), numbers)]
    images = [x[place] for place in chosen]
    return images, labels, images, labels


def permuted(asked: Permuted, seed: int, index: int) -> Oracle:
    x, y, x_test, y_test = lists(DATA)
    places = shuffled(6, dice("pixels", seed, index))

    def moved(images: list[Any]) -> list[Any]:
        return [[[channel[place] for place in places] for channel in image] for image in images]

    chosen = sampled(asked, seed, index)
    return moved([x[n] for n in chosen]), [y[n] for n in chosen], moved(x_test), y_test


def permuted_labels(asked: PermutedLabels, seed: int, index: int) -> Oracle:
    x, y, x_test, y_test = lists(DATA)
    names = shuffled(CLASSES, dice("names", seed, index))
    chosen = sampled(asked, seed, index)
    return [x[n] for n in chosen], [names[y[n]] for n in chosen], x_test, [names[k] for k in y_test]


def stationary(asked: Stationary, seed: int, index: int) -> Oracle:
    x, y, x_test, y_test = lists(DATA)
    chosen = sampled(asked, seed, index)
    return [x[n] for n in chosen], [y[n] for n in chosen], x_test, y_test


def warm_start(asked: WarmStart, seed: int, index: int) -> Oracle:
    x, y, x_test, y_test = lists(DATA)
    if index == 1:
        return x, y, x_test, y_test
    chosen = shuffled(N, dice("share", seed))[: round(asked.share * N)]
    labels = [y[n] for n in chosen]
    if asked.first_labels == "random":
        labels = whole(0, CLASSES, len(chosen), dice("labels", seed))
    return [x[n] for n in chosen], labels, x_test, y_test


def noisy(asked: Noisy, seed: int, index: int) -> Oracle:
    x, y, x_test, y_test = lists(DATA)
    if asked.noisy_tasks is None or index < asked.noisy_tasks:
        numbers = dice("noise", seed)
        wrong = shuffled(N, numbers)[: round(asked.noise * N)]
        for place, steps in zip(wrong, whole(1, CLASSES, len(wrong), numbers), strict=True):
            y[place] = (y[place] + steps) % CLASSES
    return x, y, x_test, y_test


ORACLES = {
    RandomLabels: random_labels,
    Permuted: permuted,
    PermutedLabels: permuted_labels,
    Stationary: stationary,
    WarmStart: warm_start,
    Noisy: noisy,
}

CASES: list[AnyStream] = [
    RandomLabels(kind="random-labels", tasks=3, epochs=2, images=7),
    RandomLabels(kind="random-labels", tasks=3, epochs=2, labels="dealt"),
    RandomLabels(kind="random-labels", tasks=3, steps=5, images=7, labels="dealt"),
    Permuted(kind="permuted", tasks=3, epochs=1),
    Permuted(kind="permuted", tasks=3, steps=4, images=9),
    PermutedLabels(kind="permuted-labels", tasks=3, epochs=1, images=9),
    Stationary(kind="stationary", tasks=3, epochs=1, images=9),
    WarmStart(kind="warm-start", steps=9),
    WarmStart(kind="warm-start", steps=9, share=0.25, first_labels="random"),
    Noisy(kind="noisy", tasks=2, epochs=3),
    Noisy(kind="noisy", tasks=2, epochs=3, noise=0.6, noisy_tasks=1),
]


def as_lists(task: Task) -> Oracle:
    def flat(images: Tensor) -> list[Any]:
        assert images.shape[1:] == SHAPE
        return images.flatten(2).tolist()

    labels, test_labels = task.labels.tolist(), task.test_labels.tolist()
    return flat(task.images), labels, flat(task.test_images), test_labels


def test_every_kind_has_an_oracle_and_a_case() -> None:
    assert set(ORACLES) == set(KINDS.values()) == {type(case) for case in CASES}


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: asked.kind)
def test_a_task_is_that_of_the_protocol(asked: AnyStream) -> None:
    before = [each.clone() for each in (DATA.x_train, DATA.y_train, DATA.x_test, DATA.y_test)]
    for seed in (0, 7):
        for index in range(asked.tasks):
            found = tasks.task(asked, DATA, seed=seed, index=index)
            oracle = ORACLES[type(asked)]
            assert as_lists(found) == oracle(asked, seed, index)  # pyright: ignore[reportArgumentType]
    now = (DATA.x_train, DATA.y_train, DATA.x_test, DATA.y_test)
    assert all(torch.equal(one, other) for one, other in zip(before, now, strict=True))


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: asked.kind)
def test_an_epoch_goes_through_the_images_in_random_orders(asked: AnyStream) -> None:
    batch = 4
    count = len(tasks.task(asked, DATA, seed=1, index=1).images)
    found = [
        tasks.order(asked, seed=1, epoch=epoch, images=count, batch_size=batch).tolist()
        for epoch in (1, 2)
    ]
    assert found[0] != found[1]
    wanted = count if asked.steps is None else asked.steps * batch
    assert len(found[0]) == wanted
    assert wanted == tasks.images_per_epoch(asked, available=N, batch_size=batch)
    for order in found:
        for start in range(0, wanted, count):
            part = order[start : start + count]
            assert len(set(part)) == len(part)
            assert set(part) <= set(range(count))
    numbers = dice("order", 1, 2)
    passes = [place for _ in range(-(-wanted // count)) for place in shuffled(count, numbers)]
    assert found[1] == passes[:wanted]


def test_seeds_and_tasks_have_random_numbers_of_their_own() -> None:
    asked = RandomLabels(kind="random-labels", tasks=2, epochs=1)
    drawn = {
        tuple(tasks.task(asked, DATA, seed=seed, index=index).labels.tolist())
        for seed in range(20)
        for index in (0, 1)
    }
    assert len(drawn) == 40


def test_drawn_labels_say_nothing_and_each_class_is_as_likely() -> None:
    asked = RandomLabels(kind="random-labels", tasks=1, epochs=1)
    counted = Counter(
        (int(label), int(true))
        for seed in range(300)
        for label, true in zip(
            tasks.task(asked, DATA, seed=seed, index=0).labels, DATA.y_train, strict=True
        )
    )
    for (_, true), times in counted.items():
        there = 300 * int((DATA.y_train == true).sum())
        # Within five standard deviations of a third.
        assert abs(times - there / 3) < 5 * (there * 2 / 9) ** 0.5


def test_what_chance_reaches() -> None:
    drawn = RandomLabels(kind="random-labels", tasks=1, epochs=1)
    dealt = RandomLabels(kind="random-labels", tasks=1, epochs=1, labels="dealt")
    assert tasks.chance(drawn, DATA) == 1 / 3
    assert tasks.chance(dealt, DATA) == 6 / 14
    assert tasks.chance(Permuted(kind="permuted", tasks=1, epochs=1), DATA) == 3 / 5


def test_more_images_than_there_are_is_told() -> None:
    asked = Permuted(kind="permuted", tasks=1, epochs=1, images=15)
    with pytest.raises(ConfigError, match=r"stream\.images: must be at most 14, .* got 15"):
        tasks.refuse_data(asked, DATA)
