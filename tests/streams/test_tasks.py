"""Every kind of stream against a slow oracle of plain Python lists, which knows the protocol and the random numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from regrow.errors import ConfigError
from regrow.streams import tasks
from regrow.streams.task import Task, dice
from regrow.study.stream import (
    AnyStream,
    BitFlipping,
    ClassIncremental,
    Interpolated,
    Noisy,
    Permuted,
    PermutedLabels,
    RandomLabels,
    Stationary,
    WarmStart,
)
from regrow.study.task_stream import TaskStream

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


Oracle = tuple[list[Any], list[Any], list[Any], list[Any]]


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


def class_incremental(asked: ClassIncremental, seed: int, index: int) -> Oracle:
    """Class by class in the order of arrival: whose images are there, and what they are called."""
    x, y, x_test, y_test = lists(DATA)
    arrived = arrived_by(asked, seed, index)

    def of_those(images: list[Any], labels: list[int]) -> tuple[list[Any], list[int]]:
        there = [n for n, label in enumerate(labels) if label in arrived]
        return [images[n] for n in there], [arrived.index(labels[n]) for n in there]

    return *of_those(x, y), *of_those(x_test, y_test)


def arrived_by(asked: ClassIncremental, seed: int, index: int) -> list[int]:
    """The classes that have arrived when a task begins."""
    count = (CLASSES // asked.tasks if asked.group is None else asked.group) * (index + 1)
    return shuffled(CLASSES, dice("classes", seed))[:count]


BASES: dict[str, Any] = {
    "random-labels": (RandomLabels, random_labels),
    "permuted": (Permuted, permuted),
    "permuted-labels": (PermutedLabels, permuted_labels),
}


def interpolated(asked: Interpolated, seed: int, index: int) -> Oracle:
    """What the kind's own oracle gives, and the same images by the last task's rule, or levels between the two."""
    kind, oracle = BASES[asked.of]
    base = kind(kind=asked.of, tasks=asked.tasks, steps=1, images=asked.images)
    images, labels, *tested = oracle(base, seed, index)
    if index == 0:
        return images, labels, *tested
    if asked.of == "permuted":
        x, y, _, _ = lists(DATA)
        places = shuffled(6, dice("pixels", seed, index - 1))
        chosen = sampled(asked, seed, index)
        last = [[[channel[place] for place in places] for channel in x[n]] for n in chosen]
        last_labels = [y[n] for n in chosen]
    elif asked.of == "permuted-labels":
        _, y, _, _ = lists(DATA)
        names = shuffled(CLASSES, dice("names", seed, index - 1))
        last, last_labels = images, [names[y[n]] for n in sampled(asked, seed, index)]
    else:
        last, last_labels, _, _ = oracle(base, seed, index - 1)
    if asked.how == "sample":
        return images + last, labels + last_labels, *tested
    blocks, count = list(images), asked.levels or 9
    for level in range(1, count + 1):
        new = level / (count + 1)
        for old_image, new_image in zip(last, images, strict=True):
            both = zip(old_image, new_image, strict=True)
            blocks.append(
                [[(1 - new) * a + new * b for a, b in zip(*each, strict=True)] for each in both]
            )
    return blocks, labels * (count + 1), *tested


def noisy(asked: Noisy, seed: int, index: int) -> Oracle:
    x, y, x_test, y_test = lists(DATA)
    if asked.noisy_tasks is None or index < asked.noisy_tasks:
        numbers = dice("noise", seed)
        wrong = shuffled(N, numbers)[: round(asked.noise * N)]
        for place, steps in zip(wrong, whole(1, CLASSES, len(wrong), numbers), strict=True):
            y[place] = (y[place] + steps) % CLASSES
    return x, y, x_test, y_test


def bit_flipping(asked: BitFlipping, seed: int, index: int) -> Oracle:
    """One example after the other from the first task's first, as a machine that makes them would go on."""
    numbers = dice("target", seed)
    inputs, fast = asked.bits + 1, asked.bits - asked.flipping
    weights = signs(asked.units * asked.bits, numbers)
    biases, outer = signs(asked.units, numbers), signs(asked.units, numbers)
    (offset,) = signs(1, numbers)

    def answer(bits: Sequence[int]) -> float:
        total = float(offset)
        for unit in range(asked.units):
            own = weights[unit * asked.bits : (unit + 1) * asked.bits]
            heard = sum(w * x for w, x in zip(own, bits, strict=True)) + biases[unit]
            negative = own.count(-1)
            if asked.form == "article":
                negative += biases[unit] == -1
                # In whole numbers: how many of its inputs, the constant 1 too, agree with its weights.
                agree = sum((w == 1) == (x == 1) for w, x in zip(own, bits, strict=True))
                assert heard + negative == agree + (biases[unit] == 1)
            else:
                negative += biases[unit] / 2
            total += outer[unit] * (heard > asked.beta * inputs - negative)
        return total

    slow = whole(0, 2, asked.flipping, dice("slow bits", seed))
    every = asked.flip_every or asked.examples
    images: list[Any] = []
    for task in range(index + 1):
        drawn = whole(0, 2, asked.examples * fast, dice("bits", seed, task))
        images = []
        for place in range(asked.examples):
            number = task * asked.examples + place
            if number and number % every == 0 and asked.flipping:
                numbers = dice("flip", seed, number // every)
                if asked.form == "article":
                    flips = int(torch.randint(asked.flipping, (), generator=numbers))
                    slow[flips] = 1 - slow[flips]
                else:
                    slow = whole(0, 2, asked.flipping, numbers)
            images.append([[*slow, *drawn[place * fast : (place + 1) * fast]]])
    drawn = whole(0, 2, 512 * fast, dice("test bits", seed, index))
    tested = [[[*slow, *drawn[n * fast : (n + 1) * fast]]] for n in range(512)]
    return (
        images,
        [answer(bits) for (bits,) in images],
        tested,
        [answer(bits) for (bits,) in tested],
    )


def signs(count: int, numbers: torch.Generator) -> list[int]:
    return [2 * one - 1 for one in whole(0, 2, count, numbers)]


ORACLES = {
    RandomLabels: random_labels,
    Permuted: permuted,
    PermutedLabels: permuted_labels,
    Stationary: stationary,
    WarmStart: warm_start,
    ClassIncremental: class_incremental,
    Interpolated: interpolated,
    Noisy: noisy,
    BitFlipping: bit_flipping,
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
    ClassIncremental(kind="class-incremental", tasks=3, steps=5),
    ClassIncremental(kind="class-incremental", tasks=1, steps=5),
    ClassIncremental(kind="class-incremental", tasks=2, steps=4, group=1),
    Interpolated(kind="interpolated", of="random-labels", tasks=3, epochs=3, images=7),
    Interpolated(kind="interpolated", of="permuted-labels", tasks=3, steps=6, moving=0.9),
    Interpolated(kind="interpolated", of="permuted", tasks=3, epochs=1, moving=1.0),
    # A quarter, a half and three quarters of whole numbers are no matter of rounding.
    Interpolated(
        kind="interpolated", of="permuted", tasks=3, steps=7, images=9, how="blend", levels=3
    ),
    Interpolated(
        kind="interpolated", of="permuted", tasks=2, epochs=4, how="blend", levels=1, moving=0.3
    ),
    Noisy(kind="noisy", tasks=2, epochs=3),
    Noisy(kind="noisy", tasks=2, epochs=3, noise=0.6, noisy_tasks=1),
    BitFlipping(kind="bit-flipping", tasks=4, examples=7, units=12),
    BitFlipping(kind="bit-flipping", tasks=3, examples=7, form="shipped", units=12),
    # Several flips in a task, and tasks without one; a threshold that is a whole number.
    BitFlipping(
        kind="bit-flipping", tasks=3, examples=9, flip_every=4, bits=9, flipping=3, beta=0.5
    ),
    BitFlipping(
        kind="bit-flipping", tasks=4, examples=5, flip_every=11, bits=6, flipping=6, units=9
    ),
    BitFlipping(kind="bit-flipping", tasks=2, examples=5, bits=3, flipping=0, form="shipped"),
]


def as_lists(task: Task) -> Oracle:
    def flat(images: Tensor) -> list[Any]:
        assert images.shape[1:] == SHAPE or images.shape[1:3] == (1, 1)  # the latter of bits
        return images.flatten(2).tolist()

    labels, test_labels = task.labels.tolist(), task.test_labels.tolist()
    return flat(task.images), labels, flat(task.test_images), test_labels


def test_every_kind_has_an_oracle_and_a_case() -> None:
    assert set(ORACLES) == set(get_args(AnyStream)) == {type(case) for case in CASES}


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
def test_an_epoch_goes_through_the_images_in_its_order(asked: AnyStream) -> None:
    batch = 4
    if isinstance(asked, Interpolated):
        asked = asked.base  # its own order is tried below
    count = len(tasks.task(asked, DATA, seed=1, index=min(1, asked.tasks - 1)).images)
    found = [
        tasks.order(asked, seed=1, epoch=epoch, images=count, batch_size=batch).tolist()
        for epoch in (1, 2)
    ]
    if isinstance(asked, BitFlipping):  # as they were made: bits flip between them
        assert found == [list(range(asked.examples))] * 2
        assert asked.examples == tasks.images_per_epoch(asked, available=N, batch_size=batch)
        return
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


MOVING = [case for case in CASES if isinstance(case, Interpolated)]


@pytest.mark.parametrize("asked", MOVING, ids=lambda asked: f"{asked.of}-{asked.how}")
def test_a_task_moves_in_example_by_example(asked: Interpolated) -> None:
    """The images of the kind that jumps, each from the part of the task that it is in by then."""
    batch, own, epochs = 4, asked.images or N, asked.epochs or 1
    wanted = tasks.images_per_epoch(asked, available=N, batch_size=batch)
    levels = (asked.levels or 9) if asked.how == "blend" else 1
    every = wanted * epochs
    moved = round(asked.moving * every)
    place = 0
    for epoch in range(1, 3 * epochs + 1):
        place = 0 if (epoch - 1) % epochs == 0 else place
        index = (epoch - 1) // epochs
        if index == asked.tasks:
            return
        count = len(tasks.task(asked, DATA, seed=1, index=index).images)
        assert count == (own if index == 0 else own * (1 + levels))
        given: dict[str, Any] = {"seed": 1, "epoch": epoch, "batch_size": batch}
        found = tasks.order(asked, images=count, **given).tolist()
        jumps = tasks.order(asked.base, images=own, **given).tolist()
        numbers = torch.rand(wanted, generator=dice("moved", 1, epoch), dtype=torch.float64)
        for at, (here, there) in enumerate(zip(found, jumps, strict=True)):
            block = 0
            if index and place < moved and asked.how == "blend":
                block = 1 + place * levels // moved
            elif index and place < moved:
                block = int(float(numbers[at]) >= (place + 1) / (moved + 1))
            assert here == there + own * block
            place += 1


def test_a_task_that_has_moved_in_is_what_it_is_and_half_way_is_half_of_each() -> None:
    asked = Interpolated(kind="interpolated", of="random-labels", tasks=2, steps=1000, moving=0.4)
    found = tasks.order(asked, seed=3, epoch=2, images=2 * N, batch_size=10)
    old = (found >= N).double()
    assert float(old[4000:].sum()) == 0
    for part, share in ((old[:400], 0.95), (old[1800:2200], 0.5), (old[3600:4000], 0.05)):
        # Within five standard deviations.
        assert abs(float(part.mean()) - share) < 5 * (share * (1 - share) / 400) ** 0.5
    blend = Interpolated(
        kind="interpolated", of="permuted", tasks=2, steps=100, how="blend", moving=0.4
    )
    levels = tasks.order(blend, seed=3, epoch=2, images=10 * N, batch_size=9) // N
    assert levels.tolist() == [1 + number // 40 for number in range(360)] + [0] * 540


def test_classes_arrive_in_the_seeds_order_and_those_that_have_not_take_no_part() -> None:
    asked = ClassIncremental(kind="class-incremental", tasks=3, steps=2)
    orders: set[tuple[int, ...]] = set()
    for seed in range(40):
        made = [tasks.task(asked, DATA, seed=seed, index=index) for index in range(3)]
        assert [each.outputs for each in made] == [1, 2, 3]
        for each in made:
            assert set(each.labels.tolist()) == set(range(each.outputs or 0))
            assert int(each.test_labels.max()) < (each.outputs or 0)
        # What has arrived stays, by the name that it got.
        for before, after in pairwise(made):
            there = {tuple(x.flatten().tolist()): int(y) for x, y in pairs(after)}
            assert all(there[tuple(x.flatten().tolist())] == y for x, y in pairs(before))
        orders.add(tuple(shuffled(CLASSES, dice("classes", seed))))
    assert len(orders) == 6


def pairs(task: Task) -> list[tuple[Tensor, int]]:
    return list(zip(task.images, task.labels.tolist(), strict=True))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"tasks": 2}, r"stream\.group: must be given where 3 classes .* 2 tasks .* got None"),
        ({"tasks": 2, "group": 2}, r"stream\.group: must be at most 1, for 2 tasks .* got 2"),
        ({"tasks": 4, "group": 1}, r"stream\.tasks: must be at most 3, the classes, .* got 4"),
    ],
)
def test_classes_that_do_not_go_round_are_told(parts: dict[str, int], told: str) -> None:
    asked = ClassIncremental.model_validate({"kind": "class-incremental", "steps": 1, **parts})
    with pytest.raises(ConfigError, match=told):
        tasks.refuse_data(asked, DATA)


def test_a_class_without_images_is_told() -> None:
    asked = ClassIncremental(kind="class-incremental", tasks=3, steps=1)
    data = Few(y_test=torch.tensor([2, 2, 1, 1, 2]))
    with pytest.raises(ConfigError, match="needs test images of every class, and 'a' has none"):
        tasks.refuse_data(asked, data)


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
    # All have arrived by the last task, or two of three.
    assert tasks.chance(ClassIncremental(kind="class-incremental", tasks=3, steps=1), DATA) == 3 / 5
    two = ClassIncremental(kind="class-incremental", tasks=2, steps=1, group=1)
    assert tasks.chance(two, DATA) == 1 / 2
    moving = Interpolated(kind="interpolated", of="random-labels", tasks=2, steps=1)
    assert tasks.chance(moving, DATA) == 1 / 3


def test_more_images_than_there_are_is_told() -> None:
    asked = Permuted(kind="permuted", tasks=1, epochs=1, images=15)
    with pytest.raises(ConfigError, match=r"stream\.images: must be at most 14, .* got 15"):
        tasks.refuse_data(asked, DATA)


def test_tasks_of_bits_follow_each_other_as_one_stream() -> None:
    """However it is cut into tasks, the slow bits are the same at the same example."""
    parts: dict[str, Any] = {"kind": "bit-flipping", "flip_every": 6, "bits": 8, "flipping": 5}
    one = BitFlipping(tasks=1, examples=24, **parts)
    four = BitFlipping(tasks=4, examples=6, **parts)
    whole_stream = tasks.task(one, DATA, seed=3, index=0).images[..., :5]
    cut = [tasks.task(four, DATA, seed=3, index=index).images[..., :5] for index in range(4)]
    assert torch.equal(torch.cat(cut), whole_stream)
    changed = [int((a[-1] != b[0]).sum()) for a, b in pairwise(cut)]
    assert changed == [1, 1, 1]


def test_units_of_the_target_are_on_as_often_as_the_threshold_says() -> None:
    """A unit is on if at least 15 of 21 fair bits agree, but that the constant is no bit: (P(15 of 20) + P(14)) / 2."""
    asked = BitFlipping(kind="bit-flipping", tasks=1, examples=4000, flipping=0)
    labels = torch.cat([tasks.task(asked, DATA, seed=s, index=0).labels for s in range(20)])
    # Of 100 units each with a random sign the sum has a second moment of 100 p around an offset of 1 or -1; p is
    # 0.0392. Seeds differ in their units: within a sixth of it.
    assert float((labels.square()).mean()) == pytest.approx(100 * 0.0392 + 1, rel=0.17)
    assert torch.equal(labels, labels.round())


def test_an_epoch_knows_its_task() -> None:
    stream = TaskStream(tasks=3, epochs=2)
    assert [stream.task_of(epoch) for epoch in range(1, 7)] == [1, 1, 2, 2, 3, 3]
