"""What the trials of a study are judged by, in words: tables, figures and sentences call it alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from regrow.report.unit import ACCURACY, ERROR, Unit
from regrow.study.records import Trial
from regrow.study.stream import AnyStream, ClassIncremental, Interpolated
from regrow.study.task_records import TaskRecord


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is compared."""

    # What it is called within a sentence; an error where numbers are learnt.
    accuracy: str = "test accuracy"
    when: str = "after the last epoch"  # when it is measured
    told: str = ""  # what that means, where it is not plain; a sentence, or empty
    unit: Unit = ACCURACY  # how it is written, and which way is better

    @property
    def title(self) -> str:
        """What it is called at the head of a sentence or an axis."""
        return self.accuracy.capitalize()

    @property
    def whole(self) -> str:
        """What and when, to begin a sentence with."""
        return f"{self.title} {self.when}"

    def of(self, trial: Trial) -> float | None:
        """The number that a trial is judged by; None of one that crashed."""
        if not self.unit.lower:
            return trial.test_accuracy
        return None if trial.status == "crashed" else trial.test_loss

    def known(self, trials: Mapping[int, Trial]) -> dict[int, float]:
        """That number of each seed that has one."""
        every = ((seed, self.of(trial)) for seed, trial in trials.items())
        return {seed: number for seed, number in every if number is not None}

    def drawn(self, trials: Mapping[int, Trial]) -> dict[int, float]:
        """The same as it is drawn: in percent, or an error."""
        return {seed: self.unit.scale * number for seed, number in self.known(trials).items()}

    def online(self, task: TaskRecord) -> float | None:
        """What is measured in a task, of predictions each made before the update that its batch led to."""
        return task.online_loss if self.unit.lower else task.online_accuracy

    def at_end(self, task: TaskRecord) -> float | None:
        """What is measured when a task ends."""
        return task.loss if self.unit.lower else task.accuracy


def judged_by(stream: AnyStream | None) -> Judged:
    """What trials are judged by, of a study with a stream of tasks or without one."""
    if stream is None:
        return Judged()
    last, every = stream.judged_tasks, stream.tasks
    tasks = f"the last {last} of {every} tasks" if last > 1 else f"the last of {every} tasks"
    if stream.loss == "squared":
        return Judged(
            accuracy="online mean squared error",
            when=f"in {tasks}",
            told="Online mean squared error: of predictions each made before the update that its batch led to; less is "
            "better.",
            unit=ERROR,
        )
    if stream.judged_by == "end":
        return replace(_at_end(stream), when=f"at the end of {tasks}")
    return Judged(
        accuracy="online accuracy",
        when=f"in {tasks}",
        told="Online accuracy: the share of right predictions, each made before the update that its batch led to.",
    )


def _at_end(stream: AnyStream) -> Judged:
    """What is measured when a task ends."""
    if isinstance(stream, ClassIncremental):
        return Judged(
            told="Test accuracy: on the test images of the classes that have arrived, told apart among these."
        )
    if isinstance(stream, Interpolated) and stream.of == "random-labels":
        return Judged(
            accuracy="accuracy",
            told="Accuracy: on the images that are learnt by heart, with the labels of the task that has moved in.",
        )
    if isinstance(stream, Interpolated):
        return Judged(told="Test accuracy: on test images as the task that has moved in has them.")
    return Judged()
