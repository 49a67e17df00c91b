"""The queue of a study's runs, worked off by nobody: what begins, waits, parts, dies and crashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from regrow.lab.plan import plan
from regrow.lab.queue import Batch, Runs, Segment, segments
from regrow.study.document import Study
from regrow.study.records import Status, TrialResult
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]


def runs_of(
    study: Study, *labels: tuple[str, ...], stack_size: int = 1
) -> tuple[Runs, dict[str, TrialSpec]]:
    """One run for each group of arms, of the first seed."""
    specs = {spec.label: spec for spec in plan(study).trials if spec.seed == study.seeds[0]}
    segments = [Segment(specs=tuple(specs[label] for label in group)) for group in labels]
    return Runs(segments, ended={}, stack_size=stack_size), specs


def ended(spec: TrialSpec, status: Status = "finished") -> TrialResult:
    return TrialResult(
        trial=spec.trial, cell=spec.cell, arm=spec.label, seed=spec.seed, status=status
    )


def begun(runs: Runs, *, workers: int = 1) -> Batch:
    batch = runs.begin(workers=workers)
    assert batch is not None
    return batch


def labels(batch: Batch) -> list[list[str]]:
    return [[spec.label for spec in run.specs] for run in batch]


def test_a_control_waits_for_what_it_replays_and_others_go_ahead(study: MakeStudy) -> None:
    runs, specs = runs_of(study(), ("ro",), ("control",), ("none",))
    first, second = begun(runs, workers=2), begun(runs, workers=2)
    assert (labels(first), labels(second)) == ([["ro"]], [["none"]])
    assert runs.begin(workers=2) is None
    assert runs.unfinished
    runs.end(first, [ended(specs["ro"])])
    assert labels(begun(runs, workers=2)) == [["control"]]
    runs.end(second, [ended(specs["none"], "diverged")])
    assert runs.status == {specs["ro"].trial: "finished", specs["none"].trial: "diverged"}


def test_a_control_of_a_crash_crashes_without_being_begun(study: MakeStudy) -> None:
    runs, specs = runs_of(study(), ("ro",), ("control",))
    runs.failed(begun(runs), "ValueError: no")
    assert runs.begin(workers=1) is None
    assert not runs.unfinished
    told = {run.name: results[0].error for run, results in runs.crashes}
    assert told[specs["ro"].trial] == "ValueError: no"
    assert told[specs["control"].trial] == (
        f"the trial that it replays, {specs['ro'].trial}, has crashed"
    )


@pytest.mark.parametrize("status", ["crashed", "diverged"])
def test_students_of_a_teacher_that_taught_nothing_never_begin(
    study: MakeStudy, status: Status
) -> None:
    arms = {
        "none": {"recipe": "none"},
        "kd": {"recipe": "none", "teachers": ["none"]},
        "last": {"recipe": "none", "teachers": ["kd"]},
    }
    runs, specs = runs_of(study(arms=arms), ("none",), ("kd",), ("last",))
    runs.end(begun(runs), [ended(specs["none"], status)])
    assert runs.begin(workers=1) is None
    assert [run.name for run, _ in runs.crashes] == [specs["kd"].trial, specs["last"].trial]


def test_those_who_part_are_the_next_to_begin(study: MakeStudy) -> None:
    runs, specs = runs_of(study(), ("none", "ro"), ("control",))
    batch = begun(runs)
    runs.part(batch, [specs["ro"].trial])
    assert labels(batch) == [["none"]]
    assert labels(begun(runs)) == [["ro"]]
    runs.end(batch, [ended(specs["none"])])
    assert batch == []
    assert runs.busy


def test_a_run_goes_on_after_one_death_alone_after_two_and_crashes_then(study: MakeStudy) -> None:
    runs, specs = runs_of(study(), ("none", "ro"))
    runs.died(begun(runs), "killed by SIGKILL")
    runs.died(begun(runs), "killed by SIGKILL")
    assert [text.partition(": ")[2] for text in runs.notices] == [
        "its process died (killed by SIGKILL); it goes on in a new one",
        "their process died again (killed by SIGKILL); each goes on by itself",
    ]
    for _ in range(2):
        first = begun(runs)
        assert labels(first) == [["none"]]
        runs.died(first, "exit status 9")
    ((_, (result,)),) = runs.crashes
    assert result.trial == specs["none"].trial
    assert result.error == "its process died 2 times (exit status 9); out of memory?"
    assert labels(begun(runs)) == [["ro"]]


def test_a_run_that_has_got_further_is_begun_as_often_again(study: MakeStudy) -> None:
    runs, specs = runs_of(study(), ("none",))
    trial = specs["none"].trial
    for epoch in (1, 2, 5):
        batch = begun(runs)
        assert runs.moved(batch, trial, epoch=epoch).name == trial
        runs.died(batch, "killed by SIGKILL")
    # What was trained before is trained again up to there: that is no progress.
    batch = begun(runs)
    runs.moved(batch, trial, epoch=5)
    runs.died(batch, "killed by SIGKILL")
    ((_, (result,)),) = runs.crashes
    assert result.error == "its process died 2 times (killed by SIGKILL); out of memory?"


def test_a_machine_that_is_gone_is_no_fault_of_what_it_trained(study: MakeStudy) -> None:
    arms = {f"a{n}": {"recipe": "none"} for n in range(4)}
    runs, _ = runs_of(study(arms=arms), *[(label,) for label in arms], stack_size=4)
    for _ in range(9):
        batch = begun(runs)
        assert labels(batch) == [[label] for label in arms]
        runs.died(batch, "its node is gone", lost=True)
        assert batch == []
    assert set(runs.notices) == {
        "base/a0/seed3, and 3 runs beside it: its node is gone; training goes on elsewhere"
    }
    assert not runs.crashes


def test_how_often_a_run_is_begun_is_said_by_who_trains(study: MakeStudy) -> None:
    specs = plan(study()).trials[:1]
    runs = Runs([Segment(specs=specs)], ended={}, stack_size=1, attempts=4)
    for left in (3, 2, 1, 0):
        runs.died(begun(runs), "killed")
        assert bool(runs.crashes) is not bool(left)


def test_of_several_side_by_side_half_as_many_go_on_together(study: MakeStudy) -> None:
    arms = {f"a{n}": {"recipe": "none"} for n in range(4)}
    groups = [(label,) for label in arms]
    runs, specs = runs_of(study(arms=arms), *groups, stack_size=8)
    batch = begun(runs)
    assert len(batch) == 4
    runs.end(batch, [ended(specs["a0"])])
    runs.failed(batch, "out of memory")
    assert runs.notices == [
        "3 runs side by side stopped: out of memory; from now on at most 1 of them are trained together"
    ]
    assert labels(begun(runs)) == [["a1"]]
    assert not runs.crashes


def test_no_worker_is_left_without_a_run(study: MakeStudy) -> None:
    arms = {f"a{n}": {"recipe": "none"} for n in range(6)}
    runs, _ = runs_of(study(arms=arms), *[(label,) for label in arms], stack_size=8)
    assert [len(begun(runs, workers=3)) for _ in range(3)] == [2, 2, 1]


def test_a_trial_that_nobody_was_given_is_an_error(study: MakeStudy) -> None:
    runs, specs = runs_of(study(), ("none",), ("ro",))
    with pytest.raises(RuntimeError, match="which it was not given"):
        runs.end(begun(runs), [ended(specs["ro"])])


def test_no_more_runs_are_made_than_can_begin_however_many_wait(study: MakeStudy) -> None:
    """A plan of a hundred thousand trials: of what waits only the nearest are held."""
    every = plan(study(seeds=25_000)).trials
    made: list[str] = []

    def waiting() -> Iterator[Segment]:
        for run in segments(every, {}):
            made.append(run.name)
            yield run

    runs = Runs(waiting(), ended={}, stack_size=4)
    assert len(every) >= 75_000
    assert not made
    first = begun(runs, workers=2)
    assert len(first) == 4  # no smaller than if all were known
    # Two workers' stacks, the hundred that are passed over in search of what fits, and the rest of a seed.
    assert len(made) <= 2 * 4 + 100 + 4
    assert made == [run.name for run in islice(segments(every, {}), len(made))]
    before = len(made)
    runs.end(first, [ended(spec) for spec in first[0].specs])
    begun(runs, workers=2)
    assert len(made) <= before + 2 * 4
    assert runs.unfinished


def test_trials_are_made_when_they_are_asked_for(study: MakeStudy) -> None:
    every = plan(study(seeds=[3, 5])).trials
    labels = ["none", "ro", "control"]
    assert [(spec.seed, spec.label) for spec in every] == [(s, a) for s in (3, 5) for a in labels]
    assert every[-1].trial == "base/control/seed5"
    assert every[-1].like == "base/ro/seed5"
    assert [spec.trial for spec in every[2:4]] == ["base/control/seed3", "base/none/seed5"]
    with pytest.raises(IndexError):
        every[6]
