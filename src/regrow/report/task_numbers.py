"""What the arms of a study with a stream did, task by task, and how much of what plain training loses they keep.

Asked by the summary, the tables and the figures of a study with a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

from regrow.report.compared import Against, between, share_of
from regrow.report.judged import judged_by
from regrow.report.weights import gathered
from regrow.study.grouped import grouped
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import mean_of
from regrow.study.stream import AT_EACH_TASK, AnyStream
from regrow.study.task_records import HealthRecord, ProbeRecord, TaskRecord

ByTask = dict[int, list[float]]  # task to one number a trial


@dataclass(frozen=True, kw_only=True)
class ArmTasks:
    """One arm over the tasks of a stream; means over trials, None where nothing was measured."""

    label: str  # the arm's label
    n: int  # trials with at least one task
    # Online accuracy, or error where numbers are learnt, in the first tasks, as many as trials are judged by.
    first: float | None
    last: float | None  # online accuracy in the last tasks, of the trials that reached them
    # Mean online accuracy of all tasks that were reached: the area under the curve.
    every: float | None
    end: float | None  # accuracy at the end of the last tasks
    # Of what a fresh network for each task is better than plain training, the share that the arm is better; None
    # where a fresh network is not shown to be better.
    kept: float | None
    renewed: float | None  # units renewed in a task
    # Of these, the share that was renewed in the task before, too; None where nothing was renewed twice.
    again: float | None
    # Fresh-probe gap after the last task reached; None where the study did not ask.
    probe: float | None
    # Share of the units that are dead after the last task reached, over all layers' units.
    dead: float | None
    dormant: float | None  # likewise of those that are dormant


def arm_tasks(results: Results, cell: str) -> tuple[ArmTasks, ...]:
    """The arms of one cell; none of a study without a stream."""
    stream = results.study.stream
    if stream is None:
        return ()
    return tuple(_arm(results, cell, arm.label, stream) for arm in results.study.arms)


def fresh_arm(results: Results) -> str | None:
    """The arm that begins each task with a fresh network."""
    found = (arm.label for arm in results.study.arms if arm.recipe == AT_EACH_TASK)
    return next(found, None)


def measured(
    results: Results, cell: str, arm: str, number: Callable[[TaskRecord], float | None]
) -> ByTask:
    """A number of each task of an arm's trials."""
    records = results.of_arm(cell, arm, results.of(TaskRecord))
    return gathered((each.task, number(each)) for _, own in records for each in own)


def of_units(
    results: Results, cell: str, arm: str, number: Callable[[HealthRecord], float | None]
) -> ByTask:
    """A number of each task's units, mean over the layers of a trial with as many votes as a layer has units."""
    found: list[tuple[int, float | None]] = []
    for trial, looks in results.of_arm(cell, arm, results.of(HealthRecord)):
        units = results.layers.get(trial.trial, {})
        for task, own in grouped(looks, attrgetter("task")).items():
            votes = [(units.get(each.layer, 1), number(each)) for each in own]
            known = [(vote, value) for vote, value in votes if value is not None]
            whole = sum(vote for vote, _ in known)
            found.append((task, sum(v * x for v, x in known) / whole if whole else None))
    return gathered(found)


def renewed_by_task(results: Results, cell: str, arm: str) -> ByTask:
    """Units that the trials of an arm renewed in each task that they ended."""
    return gathered(
        (each.task, float(len(units.get(each.task, ()))))
        for trial, ended in results.of_arm(cell, arm, results.of(TaskRecord))
        for units in (_renewed(results, trial),)
        for each in ended
    )


def renewed_again(results: Results, cell: str, arm: str) -> ByTask:
    """Of the units that a trial renewed in a task, the share that it had renewed in the task before."""
    every = (_renewed(results, trial) for trial in results.arm(cell, arm).values())
    return gathered(
        (task, len({*own} & {*units[task - 1]}) / len({*own}))
        for units in every
        for task, own in units.items()
        if task - 1 in units
    )


def _renewed(results: Results, trial: Trial) -> dict[int, list[tuple[str, int]]]:
    """The units that a trial renewed, by task."""
    stream, found = results.study.stream, dict[int, list[tuple[str, int]]]()
    if stream is not None:
        for each in results.renewals.get(trial.trial, ()):
            found.setdefault(stream.task_of(each.epoch), []).append((each.layer, each.filter))
    return found


def probed(results: Results, cell: str, arm: str) -> ByTask:
    """The fresh-probe gap of each task."""
    records = results.of_arm(cell, arm, results.of(ProbeRecord))
    return gathered((each.task, each.gap) for _, own in records for each in own)


def _arm(results: Results, cell: str, label: str, stream: AnyStream) -> ArmTasks:
    count, judged = stream.judged_tasks, judged_by(stream)
    online = measured(results, cell, label, judged.online)
    end = measured(results, cell, label, judged.at_end)
    late = range(stream.tasks - count + 1, stream.tasks + 1)
    probes, renewed = probed(results, cell, label), renewed_by_task(results, cell, label)
    again = renewed_again(results, cell, label)
    dead, dormant = (
        of_units(results, cell, label, attrgetter(name)) for name in ("dead", "dormant")
    )
    return ArmTasks(
        label=label,
        n=len(results.of_arm(cell, label, results.of(TaskRecord))),
        first=_over(online, range(1, count + 1)),
        last=_over(online, late),
        every=_over(online, online),
        end=_over(end, late),
        kept=_kept(results, cell, label),
        renewed=_over(renewed, renewed),
        again=_over(again, again),
        probe=_over(probes, [max(probes, default=0)]),
        dead=_over(dead, [max(dead, default=0)]),
        dormant=_over(dormant, [max(dormant, default=0)]),
    )


def _kept(results: Results, cell: str, label: str) -> float | None:
    fresh, baseline = fresh_arm(results), results.study.baseline
    if fresh is None or label == baseline:
        return None
    gap = between(results, cell, fresh, Against(baseline, "baseline"))
    common = results.arm(cell, fresh).keys() & results.arm(cell, baseline).keys()
    own = between(results, cell, label, Against(baseline, "baseline"), seeds=common)
    return share_of(gap, own)


def _over(numbers: ByTask, tasks: Iterable[int]) -> float | None:
    return mean_of(each for task in tasks for each in numbers.get(task, ()))
