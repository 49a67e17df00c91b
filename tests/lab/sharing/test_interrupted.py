"""Sessions that are stopped, workers that die and files that are damaged: the results stay those of one quiet run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.sharing.grids import Kind
from lab.sharing.running import Outcome, Tables, column, go, opened, small_study, tables
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.events import Ended, Event, Noticed, Progressed, Started
from regrow.study.document import Study

NETS = """
import os, pathlib, signal
import torch
from torch import nn


class Net(nn.Sequential):
    steps = 0

    def forward(self, x):
        if self.training and len(x) > 2:
            self.steps += 1
            if self.steps == self.deadly and not self.flag.exists():
                self.flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def make(*, in_channels, image_size, classes, flag, deadly):
    net = Net(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
    net.flag, net.deadly = pathlib.Path(flag), deadly
    return net
"""


class Stopped(Exception):  # noqa: N818 # no error, an event
    """Stands for a process that ends between two messages of its workers."""


@pytest.fixture(scope="module")
def forking(digits_npz: Path) -> Study:
    """Two seeds of a family that parts early and late."""
    kind = Kind(settings={"source": "accumulated", "every_steps": 5}, thresholds=(0.3, 0.05, 0.01))
    train = {"epochs": 5, "batch_size": 16, "lr": 0.1}
    return small_study(digits_npz, kind.arms("a"), train=train, seeds=[0, 1])


@pytest.fixture(scope="module")
def quiet(forking: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, int]:
    """What it gives when nothing happens: its tables, and what was trained."""
    found = go(forking, tmp_path_factory.mktemp("quiet") / "run")
    assert found.effort < 0.6 * found.asked
    return tables(found.folder), found.effort


def stopped(study: Study, folder: Path, *, on_event: Callable[[Event], object], **how: Any) -> None:
    """A session that ends in the middle."""
    with pytest.raises(Stopped):
        go(study, folder, on_event=on_event, checkpoint_every_s=0.0, **how)


def after(events: int) -> Callable[[Event], None]:
    """Stop at the event of that number."""
    left = events

    def stop(event: Event) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Stopped

    return stop


def files(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.ckpt"))


def check(outcome: Outcome, quiet: tuple[Tables, int], *, again: int) -> None:
    """The same tables; at most so many epochs were trained again."""
    expected, effort = quiet
    found = tables(outcome.folder)
    for table, rows in expected.items():
        assert found[table] == rows, table
    assert outcome.effort <= effort + again
    assert files(outcome.folder) == []


@pytest.mark.slow
def test_two_workers_give_what_one_gives(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path
) -> None:
    check(go(forking, tmp_path, jobs=2), quiet, again=0)


@pytest.mark.slow
def test_stopped_again_and_again_with_sharing_and_without(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path
) -> None:
    # Without sharing in between: single trials go on from the files of a run, and runs from theirs.
    stopped(forking, tmp_path, on_event=after(6))
    before = tables(tmp_path)["trials"]
    stopped(forking, tmp_path, on_event=after(9), sharing=False)
    assert {row[0] for row in before} <= {row[0] for row in tables(tmp_path)["trials"]}
    found = go(forking, tmp_path, checkpoint_every_s=0.0, jobs=2)
    assert found.notices == []
    # What the session without sharing trained is at most its events.
    check(found, quiet, again=9 + 2)


@pytest.mark.slow
@pytest.mark.parametrize("events", [1, 2, 3, 5, 8, 13, 21])
@pytest.mark.parametrize("jobs", [1, 2])
def test_stopped_after_every_few_events(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path, events: int, jobs: int
) -> None:
    sessions = 0
    while True:
        sessions += 1
        # The first event of a session says what is taken up: one more is progress.
        telling = after(events + 2 * jobs)
        try:
            found = go(forking, tmp_path, on_event=telling, checkpoint_every_s=0.0, jobs=jobs)
        except Stopped:
            assert sessions < 100
            continue
        break
    assert found.notices == []
    # A session loses at most the epoch that each worker was in.
    check(found, quiet, again=jobs * sessions)


@pytest.mark.slow
def test_what_ended_is_not_trained_again(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Ended) and event.result.seed == 1:
            raise Stopped

    stopped(forking, tmp_path, on_event=stop)
    there = {row[0] for row in tables(tmp_path)["trials"]}
    found = go(forking, tmp_path)
    begun = [
        spec.trial for event in found.events if isinstance(event, Started) for spec in event.specs
    ]
    assert not there & set(begun)
    assert len(begun) == len(set(begun))
    check(found, quiet, again=1)


@pytest.mark.slow
@pytest.mark.parametrize("deadly", [4, 23])
def test_a_worker_that_is_killed_loses_nothing_that_was_shared(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadly: int
) -> None:
    (tmp_path / "deadly_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    found: dict[str, Outcome] = {}
    for how in ("quiet", "killed"):
        flag = tmp_path / "flag"
        flag.unlink(missing_ok=True)
        if how == "quiet":
            flag.touch()
        model = {
            "name": "deadly_nets:make",
            "settings": {"flag": str(flag), "deadly": deadly},
        }
        train = {"epochs": 5, "batch_size": 16, "lr": 0.1}
        arms = Kind(thresholds=(0.5, 0.2)).arms("a")
        study = small_study(digits_npz, arms, train=train, model=model)
        found[how] = go(study, tmp_path / how, checkpoint_every_s=0.0)
    killed, undisturbed = found["killed"], found["quiet"]
    assert tables(killed.folder) == tables(undisturbed.folder)
    assert undisturbed.notices == []
    (notice,) = killed.notices
    assert "its process died (killed by SIGKILL); it goes on in a new one" in notice
    assert 0 <= killed.effort - undisturbed.effort <= 1
    assert len(set(column(killed.folder, "SELECT renewed FROM trials"))) > 1


def forked(folder: Path) -> bool:
    """Whether trials have left a run of this folder and wait with a file of their own."""
    return len(files(folder)) > 1


@pytest.mark.slow
def test_killed_right_after_a_fork_was_written(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path
) -> None:
    """The run's own file is still that of all trials: the trials that left are in both."""
    folder, aside = tmp_path / "run", tmp_path / "aside"

    def stop(event: Event) -> None:
        if isinstance(event, Progressed) and forked(folder):
            raise Stopped
        if isinstance(event, Progressed):
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(folder / "checkpoints", aside)

    stopped(forking, folder, on_event=stop)
    (older,) = aside.glob("*.ckpt")
    assert older.name in {path.name for path in files(folder)}
    shutil.copy(older, folder / "checkpoints")
    found = go(forking, folder)
    assert found.notices == []
    check(found, quiet, again=6)


@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        pytest.param("bit", marks=pytest.mark.slow),
        pytest.param("gone", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_fork_is_set_aside_and_its_trials_lose_only_time(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "run"
    leader = ""

    def stop(event: Event) -> None:
        nonlocal leader
        if isinstance(event, Started) and not leader:
            leader = event.specs[0].trial
        if isinstance(event, Progressed) and forked(folder):
            raise Stopped

    stopped(forking, folder, on_event=stop)
    path = next(path for path in files(folder) if leader.replace("/", "_") not in path.name)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else flipped)
    found = go(forking, folder)
    if damage == "gone":
        assert found.notices == []
    else:
        (notice,) = found.notices
        assert path.name in notice
        assert path.with_suffix(".damaged").is_file()
    check(found, quiet, again=6)


@pytest.mark.slow
def test_a_fork_that_is_damaged_while_it_waits_begins_anew(
    forking: Study, quiet: tuple[Tables, int], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    damaged: list[Path] = []

    def damage(event: Event) -> None:
        if isinstance(event, Progressed) and forked(folder) and not damaged:
            leader = event.specs[0].trial.replace("/", "_")
            path = next(path for path in files(folder) if leader not in path.name)
            path.write_bytes(path.read_bytes()[:-1])
            damaged.append(path)

    found = go(forking, folder, on_event=damage, checkpoint_every_s=0.0)
    assert len(damaged) == 1
    assert any(
        damaged[0].name in event.text for event in found.events if isinstance(event, Noticed)
    )
    check(found, quiet, again=6)


@pytest.mark.slow
def test_a_file_names_all_trials_that_are_one_run(forking: Study, tmp_path: Path) -> None:
    stopped(forking, tmp_path, on_event=after(3))
    (path,) = files(tmp_path)
    names = [arm for arm in forking.arms if arm != "a-random"]
    trial = "base/a-none/seed0"
    with opened(forking, tmp_path) as store:
        assert store.checkpoint(trial) == path
        held = CheckpointFile(path, trial=trial, fingerprint=store.fingerprint).held()
    assert held is not None
    assert held.members[0] == trial
    assert set(held.members) <= {f"base/{name}/seed0" for name in names}
    assert len(held.members) > 1
    assert held.epoch >= 1
