"""A training that is looked at, branched, and trained on: with and without what a piece of advice says.

The line of code of an advice is run as it is printed, with the names that it uses: `model`, `optimizer`, `batch`,
`steps`, `inputs`, `mean`, `std`. Used by `inspect_advice.py`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import regrow
from regrow.health import RULES
from regrow.lab.data.dataset import Dataset
from regrow.lab.data.registry import load

LINES = {
    rule.advice.key: compile(rule.advice.code, rule.advice.key, "exec")
    for rule in RULES
    if rule.advice.code
}
LOOKED_AT = 512


def craters(scale: str) -> Dataset | None:
    """Region East, halved; None where they are not here."""
    told = os.environ.get("REGROW_DATA_DIR")
    folder = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        return None
    settings = {"region": "East", "split": "half", "scale": scale}
    return load("craters", settings=settings, data_dir=folder)


class Training:
    """A network with its optimizer on one data set; batches come in an order of the seed alone.

    Args:
        model: The network.
        optimizer: Of its parameters.
        data: Images.
        seed: Of the batches.
        epochs: How many it goes on for.
        summed: The loss is summed over a batch.
    """

    batch_size = 64

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        data: Dataset,
        *,
        seed: int,
        epochs: int,
        summed: bool = False,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.x, self.y = data.x_train, data.y_train
        self.test_x, self.test_y = data.x_test, data.y_test
        self.epochs = epochs
        self.each_step: list[Any] = []
        self._reduction = "sum" if summed else "mean"
        self._generator = torch.Generator().manual_seed(seed)

    def branch(self) -> Training:
        """The same at this point: both go on alike."""
        made = copy.copy(self)
        made.model, made.optimizer = copy.deepcopy((self.model, self.optimizer))
        made.each_step = list(self.each_step)
        made._generator = torch.Generator()
        made._generator.set_state(self._generator.get_state())
        return made

    def look(self, *, steps: int = 0) -> regrow.Health:
        """Inspect the network on training images, with its optimizer."""
        return regrow.inspect(
            self.model,
            self.x[:LOOKED_AT],
            targets=self.y[:LOOKED_AT],
            optimizer=self.optimizer,
            steps=steps,
        )

    def follow(self, key: str) -> None:
        """Run an advice's line of code once."""
        exec(LINES[key], self._names())  # noqa: S102 # the library's own line is what is tried here

    def follow_each_step(self, key: str) -> None:
        """Run it before each step of the optimizer."""
        self.each_step.append(LINES[key])

    def standardise(self) -> None:
        """Run the line about inputs on the training images and on the test images."""
        axes = (0, 2, 3)
        mean, std = self.x.mean(axes, keepdim=True), self.x.std(axes, keepdim=True)
        for name in ("x", "test_x"):
            names = {"inputs": getattr(self, name), "mean": mean, "std": std}
            exec(LINES["standardise"], names)  # noqa: S102
            setattr(self, name, names["inputs"])

    def _names(self) -> dict[str, Any]:
        return {
            "torch": torch,
            "regrow": regrow,
            "model": self.model,
            "optimizer": self.optimizer,
            "batch": self.x[: self.batch_size],
            "steps": self.epochs * self.steps_per_epoch,
        }

    @property
    def steps_per_epoch(self) -> int:
        """Batches of the training images."""
        return -(-len(self.x) // self.batch_size)

    def train(self, epochs: int) -> None:
        """Some epochs."""
        self.model.train()
        names = self._names()
        for _ in range(epochs):
            order = torch.randperm(len(self.x), generator=self._generator)
            for some in order.split(self.batch_size):
                self.optimizer.zero_grad()
                given = self.model(self.x[some])
                nn.functional.cross_entropy(
                    given, self.y[some], reduction=self._reduction
                ).backward()
                for line in self.each_step:
                    exec(line, names)  # noqa: S102
                self.optimizer.step()

    def go_on(self) -> float:
        """Train to the end: the test accuracy behind the last step."""
        self.train(self.epochs)
        return accuracy(self.model, self.test_x, self.test_y)

    @property
    def majority(self) -> float:
        """The share of the commonest class among the test images."""
        return float(self.test_y.bincount().max()) / len(self.test_y)


class Stream(Training):
    """The same images get new random labels, task after task; a task's accuracy is that on its own images.

    Args:
        images: How many.
        tasks: How many tasks `go_on` goes on for, of `epochs` each.
    """

    batch_size = 20

    def __init__(self, *args: Any, seed: int, images: int, tasks: int, **named: Any) -> None:
        super().__init__(*args, seed=seed, **named)
        self.x, self.tasks, self._seed, self._task = self.x[:images], tasks, seed, 0
        self.next_task()

    def next_task(self) -> None:
        """New labels."""
        labels = torch.Generator().manual_seed(1000 * self._seed + self._task)
        self.y = torch.randint(10, (len(self.x),), generator=labels)
        self._task += 1

    def go_through(self, tasks: int) -> list[float]:
        """Learn one task after the other, each from its beginning; the next one's labels are there at the end."""
        found: list[float] = []
        for _ in range(tasks):
            self.train(self.epochs)
            found.append(accuracy(self.model, self.x, self.y))
            self.next_task()
        return found

    def go_on(self) -> float:
        """The mean accuracy over the coming tasks, each at its end."""
        found = self.go_through(self.tasks)
        return sum(found) / len(found)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """In evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def mean_of(numbers: Sequence[float]) -> float:
    """Of finite numbers; infinite ones count as they are."""
    return sum(numbers) / len(numbers)
