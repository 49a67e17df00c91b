"""What a trial over a stream leaves behind, task by task: how much was right, and how the units are at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any, final

from torch import nn
from torch.optim import Optimizer

from regrow.health.data import Batch
from regrow.health.probe import probe_gap
from regrow.lab.ending import Kept
from regrow.lab.measure import finite, finite_or_none, loss_of, mean_or_none
from regrow.lab.task_health import EXAMPLES, TaskHealth
from regrow.streams import tasks
from regrow.streams.task import Source, Task
from regrow.study.records import EpochRecord
from regrow.study.stream import AnyStream
from regrow.study.task_records import HealthRecord, ProbeRecord, TaskRecord
from regrow.study.trials import TrialSpec


@final
class TaskLog(Kept):
    """The tasks of one trial."""

    def __init__(
        self,
        stream: AnyStream,  # that of the trial
        spec: TrialSpec,
        model: nn.Module,  # the network; it is traced once
        source: Source,  # the data that the stream draws from
    ) -> None:
        super().__init__(tasks=TaskRecord, health=HealthRecord, probes=ProbeRecord)
        self._stream, self._source, self._seed = stream, source, spec.seed
        self._probe_steps = spec.diagnostics.probe_steps
        self._health = TaskHealth(model, source.x_train[:2], ranks=spec.diagnostics.ranks)
        self.layers = self._health.layers  # number of units by layer that is looked at
        # What a network reaches that has learnt nothing; None where numbers are learnt.
        self.chance = tasks.chance(stream, source)

    def look(self, model: nn.Module, task: Task, optimizer: Optimizer, *, epoch: int) -> float:
        """Look at the network after an epoch, where it ends a task: the seconds that it took."""
        started = time.perf_counter()
        if self._stream.ends_task(epoch) and finite(model):
            number = self._stream.task_of(epoch)
            images, labels = task.test_images[:EXAMPLES], task.test_labels[:EXAMPLES]
            shown, steps = Batch(inputs=images, targets=labels), self._probe_steps
            loss = loss_of(self._stream.loss, lambda: task.outputs)
            self.records["health"] += self._health.look(
                model, shown, optimizer, task=number, loss=loss
            )
            if steps:
                gap, _ = probe_gap(model, shown, loss=loss, optimizer=optimizer, steps=steps)
                self.records["probes"].append(ProbeRecord(task=number, gap=finite_or_none(gap)))
        return time.perf_counter() - started

    def note(self, epochs: Sequence[EpochRecord]) -> None:
        """Take a task down that has ended with the last of these epochs, if one has."""
        last = epochs[-1]
        if not self._stream.ends_task(last.epoch):
            return
        own = epochs[-self._stream.epochs_per_task :]
        self.records["tasks"].append(
            TaskRecord(
                task=self._stream.task_of(last.epoch),
                online_accuracy=mean_or_none([each.train_accuracy for each in own]),
                online_loss=mean_or_none([each.train_loss for each in own]),
                accuracy=last.test_accuracy,
                loss=last.test_loss,
            )
        )

    @property
    def judged(self) -> float:
        """What the trial is judged by: the mean of its last tasks; of one that was not reached nothing is right."""
        count = self._stream.judged_tasks
        last = [each for each in self.records["tasks"] if each.task > self._stream.tasks - count]
        online = self._stream.judged_by == "online"
        right = [(each.online_accuracy if online else each.accuracy) or 0.0 for each in last]
        return sum(right) / count

    @property
    def judged_loss(self) -> float:
        """What the trial is judged by where numbers are learnt: the mean online loss of its last tasks.

        A task that was not reached, or whose loss is no number, counts as one in which every answer was 0.
        """
        stream = self._stream
        known = {each.task: each.online_loss for each in self.records["tasks"]}
        last = range(stream.tasks - stream.judged_tasks + 1, stream.tasks + 1)
        return fmean(
            self._of_no_answer(task) if (found := known.get(task)) is None else found
            for task in last
        )

    def _of_no_answer(self, task: int) -> float:
        """The mean squared error of a network that answers 0 in a task."""
        made = tasks.task(self._stream, self._source, seed=self._seed, index=task - 1)
        return float(made.labels.double().square().mean())

    def found(self) -> dict[str, Any]:
        """What was found, and what the trial is judged by."""
        right = self._stream.loss == "cross-entropy"
        judged = {"judged": self.judged} if right else {"judged_loss": self.judged_loss}
        return {**super().found(), **judged}
