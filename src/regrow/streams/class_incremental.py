"""Classes that arrive in groups: each task has the images of all that have arrived, and tells these classes apart."""

from __future__ import annotations

import torch
from torch import Tensor

from regrow.errors import ConfigError
from regrow.streams.task import Source, Task, dice
from regrow.study.stream import ClassIncremental


def task(settings: ClassIncremental, source: Source, *, seed: int, index: int) -> Task:
    """All training images of the classes that have arrived; tested on all test images of these classes.

        label = place of the class in the seed's order of arrival;   outputs = group * (index + 1)

    The network has an output for each class of the data set from the start. Those of classes that have arrived take
    part in loss and answer, the first ones; the others get no gradient, and keep their first weights until they do.
    Nothing is forgotten by design, since old classes stay: what is lost is the ability to learn.

    Source:
        Dohare et al., "Loss of plasticity in deep continual learning", Nature 632, 2024 (CIFAR-100, a ResNet-18: five
        more classes every 200 epochs, all images so far). Its tasks grow in steps, here all have as many; it goes back
        to the best validation weights when a task ends, lowers the learning rate within each and moves the images,
        which is not done here.
    """
    names = torch.empty(len(source.classes), dtype=torch.int64, device="cpu")
    names[arrival(source, seed=seed)] = torch.arange(len(source.classes), device="cpu")
    arrived = arriving(settings, source) * (index + 1)
    images, labels = _of_the_first(arrived, source.x_train, source.y_train, names)
    test_images, test_labels = _of_the_first(arrived, source.x_test, source.y_test, names)
    return Task(
        images=images,
        labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        outputs=arrived,
    )


def arrival(source: Source, *, seed: int) -> Tensor:
    """The classes in the order in which they arrive."""
    return torch.randperm(len(source.classes), generator=dice("classes", seed), device="cpu")


def arriving(settings: ClassIncremental, source: Source) -> int:
    """How many classes arrive with each task."""
    return settings.group or len(source.classes) // settings.tasks


def refuse_classes(settings: ClassIncremental, source: Source) -> None:
    """Refuse more classes than there are, as many tasks as do not divide them, and classes without images."""
    every, tasks = len(source.classes), settings.tasks
    if tasks > every:
        raise ConfigError(
            f"stream.tasks: must be at most {every}, the classes, one of which arrives with each task at least, got "
            f"{tasks}"
        )
    if settings.group is None and every % tasks:
        raise ConfigError(
            f"stream.group: must be given where {every} classes cannot be dealt out evenly over {tasks} tasks "
            "(stream.tasks), got None"
        )
    if settings.group is not None and settings.group * tasks > every:
        raise ConfigError(
            f"stream.group: must be at most {every // tasks}, for {tasks} tasks (stream.tasks) of {every} classes, got "
            f"{settings.group}"
        )
    for kind, labels in (("training", source.y_train), ("test", source.y_test)):
        none = (labels.bincount(minlength=every) == 0).nonzero().flatten().tolist()
        if none:
            raise ConfigError(
                f"stream.kind: 'class-incremental' needs {kind} images of every class, and "
                f"'{source.classes[none[0]]}' has none"
            )


def chance(settings: ClassIncremental, source: Source) -> float:
    """What a constant answer reaches when the tasks end that trials are judged by, on the average.

    The share of the commonest class where all have arrived; before that 1 / classes, since which they are is the
    seed's.
    """
    most = int(source.y_test.bincount().max()) / len(source.y_test)
    reached: list[float] = []
    for number in range(settings.tasks - settings.judged_tasks + 1, settings.tasks + 1):
        arrived = arriving(settings, source) * number
        reached.append(most if arrived == len(source.classes) else 1 / arrived)
    return sum(reached) / len(reached)


def _of_the_first(
    count: int, images: Tensor, labels: Tensor, names: Tensor
) -> tuple[Tensor, Tensor]:
    """The images of the classes that arrived first, and their places in the order of arrival."""
    new = names.to(labels.device)[labels]
    rows = new < count
    return images[rows], new[rows]
