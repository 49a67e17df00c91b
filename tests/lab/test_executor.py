from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from regrow.errors import StoreError
from regrow.lab.events import Ended, Event, Noticed, Progressed
from regrow.lab.executor import run_study
from regrow.lab.plan import plan
from regrow.lab.worker import WorkerSettings
from regrow.study.document import Study
from regrow.study.store import Store
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

OFTEN = WorkerSettings(checkpoint_every_s=0.0)

NETS = """
import os, pathlib, signal
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, seed, flag):
        super().__init__()
        self.seed, self.flag, self.steps = seed, pathlib.Path(flag), 0
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))

    def forward(self, x):
        if self.training and len(x) > 2:
            self.steps += 1
            if self.seed == 1 and self.steps == 8:
                raise ValueError("seed 1\\nis not liked")
            if self.seed == 3 or (self.seed == 2 and self.steps == 14 and not self.flag.exists()):
                self.flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.net(x)


def make(*, in_channels, image_size, classes, flag):
    return Net(classes, torch.initial_seed(), flag)
"""


def opened(study: Study, folder: Path) -> Store:
    return Store(
        folder,
        document=plan(study).document,
        fingerprint_document=plan(study).fingerprint_document(data_digests={"base": "d"}),
        arms=plan(study).arms,
        environment={},
    )


def test_crashes_are_recorded_deaths_are_survived_and_the_others_go_on(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killer_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    settings = ("randomout.confirm=gradient", "randomout.threshold=0.05")
    study = tiny_study("randomout", "random", settings=settings, seeds=4)
    flag = {"flag": str(tmp_path / "flag")}
    choice = study.model.model_copy(update={"name": "killer_nets:make", "settings": flag})
    study = study.model_copy(update={"model": choice})
    specs = plan(study).trials
    events: list[Event] = []
    with opened(study, tmp_path / "run") as store:
        tally = run_study(specs, store, jobs=1, settings=OFTEN, on_event=events.append)
        status = store.ended()
        rows = store._connection.execute(
            "SELECT arm, seed, error FROM trials WHERE status = 'crashed' ORDER BY seed, arm DESC"
        ).fetchall()
        counts = {
            arm: {
                (step, layer): len(filters)
                for step, layer, filters in store.renewals(f"base/{arm}/seed2")
            }
            for arm in ("randomout", "random")
        }
        assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert not tally.interrupted
    assert tally.ended == {"finished": 4, "crashed": 4}
    assert {trial for trial, how in status.items() if how == "finished"} == {
        f"base/{arm}/seed{seed}" for arm in ("randomout", "random") for seed in (0, 2)
    }
    errors = {(arm, seed): error for arm, seed, error in rows}
    assert errors["randomout", 1] == "ValueError: seed 1 is not liked (killer_nets.py:17)"
    assert errors["random", 1] == "the trial that it replays, base/randomout/seed1, has crashed"
    assert errors["randomout", 3] == "its process died 2 times (killed by SIGKILL); out of memory?"
    # Seed 2 died in its third epoch and went on from there, not from the start.
    epochs = [
        event.record.epoch
        for event in events
        if isinstance(event, Progressed) and event.specs[0].trial == "base/randomout/seed2"
    ]
    assert epochs == [1, 2, 3]
    notices = [event.text for event in events if isinstance(event, Noticed)]
    assert any("base/randomout/seed2: its process died (killed by SIGKILL)" in n for n in notices)
    assert counts["randomout"] == counts["random"]


@pytest.mark.slow
def test_a_full_disk_stops_the_study_and_freeing_it_lets_it_go_on(
    tiny_study: MakeStudy, small_disk: Path, fill_disk: Callable[[Path], None]
) -> None:
    study = tiny_study("none", seeds=2)
    specs = plan(study).trials
    full = False

    def on_event(event: Event) -> None:
        nonlocal full
        if isinstance(event, Ended) and not full:
            full = True
            fill_disk(small_disk / "filler")

    # The second trial's checkpoint or the first's successor in the store: either must stop the run.
    with (
        opened(study, small_disk / "run") as store,
        pytest.raises(StoreError, match=r"[Nn]o space|full"),
    ):
        run_study(slow(specs), store, jobs=1, settings=OFTEN, on_event=on_event)
    (small_disk / "filler").unlink()
    with opened(study, small_disk / "run") as store:
        assert list(store.ended()) == ["base/none/seed0"]
        tally = run_study(specs, store, jobs=1)
        assert tally.ended == {"finished": 1}
        assert list(store.ended()) == ["base/none/seed0", "base/none/seed1"]


def slow(specs: tuple[TrialSpec, ...]) -> list[TrialSpec]:
    """The last trial with so many epochs that it is still at work when the disk fills."""
    training = specs[-1].train.model_copy(update={"epochs": 500})
    return [*specs[:-1], dataclasses.replace(specs[-1], train=training)]


def test_nothing_left_to_do_starts_no_process(tiny_study: MakeStudy, tmp_path: Path) -> None:
    with opened(tiny_study(), tmp_path) as store:
        tally = run_study([], store, jobs=2)
    assert not tally.ended
    assert not tally.interrupted
