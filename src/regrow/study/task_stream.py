"""What all kinds of streams of tasks have in common: how many tasks, how long, and what trials are judged by.

The kinds are in `study/stream.py`. Nothing here imports torch.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from regrow.study.mistakes import Part

JudgedBy = Literal["online", "end"]
"""What a trial is judged by, in the last tenth of its tasks: ``online``: its right answers, each before the update;
``end``: the accuracy on the task's test images when the task ends."""

LossName = Literal["cross-entropy", "squared"]
"""What is learnt: ``cross-entropy``: classes; ``squared``: a number, and a trial is judged by its mean squared error in
the place of the accuracy. What each is is in `regrow.lab.measure`."""


class TaskStream(Part):
    """What all kinds have in common."""

    judged_by: ClassVar[JudgedBy] = "online"
    loss: ClassVar[LossName] = "cross-entropy"

    tasks: int = Field(ge=1)  # how many tasks follow each other
    epochs: int | None = Field(default=None, ge=1)  # length of a task in passes over its images; or
    # in optimizer steps: as many random orders of its images as it takes, and one epoch in the records.
    steps: int | None = Field(default=None, ge=1)
    told: bool = False  # whether a recipe is told when a task begins (but for the first)

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            given = "neither" if self.epochs is None else f"{self.epochs} and {self.steps}"
            raise ValueError(
                f"the length of a task is said by epochs or by steps, one of them, got {given}"
            )
        return self

    @property
    def epochs_per_task(self) -> int:
        """Epochs of the records in a task."""
        return self.epochs or 1

    @property
    def epochs_in_all(self) -> int:
        """Epochs of the records in a trial."""
        return self.tasks * self.epochs_per_task

    @property
    def judged_tasks(self) -> int:
        """How many tasks at the end a trial is judged by: a tenth of them, at least one."""
        return math.ceil(self.tasks / 10)

    def task_of(self, epoch: int) -> int:
        """The task that an epoch is in, both counted from 1."""
        return (epoch - 1) // self.epochs_per_task + 1

    def ends_task(self, epoch: int) -> bool:
        """Whether a task ends with an epoch."""
        return epoch % self.epochs_per_task == 0

    def begins_task(self, epoch: int) -> bool:
        """Whether another task than the last one begins with an epoch: not with the first."""
        return epoch > 1 and (epoch - 1) % self.epochs_per_task == 0


class Sampled(TaskStream):
    """Kinds that draw their images."""

    # How many training images a task has, drawn anew for each unless the kind says otherwise; None: all.
    images: int | None = Field(default=None, ge=1)


class InSteps(TaskStream):
    """Kinds whose tasks have more or fewer images than others, and are as long."""

    judged_by: ClassVar[JudgedBy] = "end"
    uneven: ClassVar[str]  # what they have of them

    @model_validator(mode="after")
    def _in_steps(self) -> Self:
        if self.steps is None:
            raise ValueError(
                f"the tasks of {self.uneven}: their length must be said by steps, got epochs = {self.epochs}"
            )
        return self
