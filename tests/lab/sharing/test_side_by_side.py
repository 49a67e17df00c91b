"""Runs that a worker trains side by side in one stack."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lab.sharing.grids import QUICK
from lab.sharing.running import go, small_study, tables
from regrow.lab.assembly import epoch_order
from regrow.lab.events import Event, Progressed, Started
from regrow.lab.plan import plan
from regrow.lab.queue import Runs, Segment, segments

SEEDS = [0, 1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adam", "blown"])
def test_neighbours_in_a_stack_change_no_bit(kind: str, digits_npz: Path, tmp_path: Path) -> None:
    """Runs fork, blow up and end at different times beside each other."""
    study = small_study(digits_npz, QUICK[kind].arms("a"), seeds=SEEDS[:3])
    alone = go(study, tmp_path / "alone", engine="stack", sharing=False)
    beside = go(study, tmp_path / "beside", engine="stack", stack_size=3)
    assert tables(beside.folder) == tables(alone.folder)
    assert beside.effort < alone.effort
    started = [event for event in beside.events if isinstance(event, Started)]
    assert len(started) > len(SEEDS)  # forks are runs of their own


@pytest.mark.slow
@pytest.mark.usefixtures("spawned")
def test_a_worker_that_dies_with_several_runs_goes_on_with_half_as_many(
    digits_npz: Path, tmp_path: Path
) -> None:
    study = small_study(digits_npz, QUICK["sgd"].arms("a"), seeds=SEEDS)
    quiet = go(study, tmp_path / "quiet", engine="stack")
    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, Progressed) and event.record.epoch >= 2 and not killed:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            workers = [int(child) for child in children if _is_worker(int(child))]
            killed.extend(workers)
            for worker in workers:
                os.kill(worker, signal.SIGKILL)

    found = go(
        study,
        tmp_path / "run",
        engine="stack",
        stack_size=4,
        checkpoint_every_s=0.0,
        on_event=kill,
    )
    assert len(killed) == 1
    assert tables(found.folder) == tables(quiet.folder)
    told = [text for text in found.notices if "side by side stopped" in text]
    assert len(told) == 1
    assert "killed by SIGKILL" in told[0]
    assert "at most 2 of them" in told[0]


def _is_worker(process: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()


def test_an_error_beside_others_is_of_the_run_that_has_it(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has a data order that fails for one seed: of four runs in a stack three must end."""

    def failing(seed: int, **rest: Any) -> Any:
        if seed == 2:
            raise ValueError("seed 2 has no order")
        return epoch_order(seed, **rest)

    study = small_study(digits_npz, {"none": {"recipe": "none"}}, seeds=SEEDS)
    with monkeypatch.context() as patched:
        patched.setattr("regrow.lab.assembly.epoch_order", failing)
        patched.setattr("regrow.lab.pool.START", "fork")  # a worker has what this process has
        found = go(study, tmp_path / "run", engine="stack", stack_size=4)
    assert found.tally.ended == {"finished": 3, "crashed": 1}
    assert len([text for text in found.notices if "side by side stopped" in text]) == 2


def test_only_runs_of_one_training_are_put_together(digits_npz: Path) -> None:
    arms = {
        "slow": {"recipe": "none", "train": {"lr": 0.01}},
        "fast": {"recipe": "none", "train": {"lr": 0.2}},
        "wide": {"recipe": "none", "model": {"filters": 4}},
        "long": {"recipe": "none", "train": {"epochs": 9}},
        "pair": {"recipe": "independent", "settings": {"partners": 2}},
    }
    runs = list(segments(plan(small_study(digits_npz, arms)).trials, {}))
    waiting = Runs(runs, ended={}, stack_size=1)
    of: dict[str, str] = {run.specs[0].label: waiting.kind(run) for run in runs}
    assert of["slow"] == of["fast"]
    assert len({of["slow"], of["wide"], of["long"]}) == 3
    assert of["pair"] == ""
    assert isinstance(runs[0], Segment)
