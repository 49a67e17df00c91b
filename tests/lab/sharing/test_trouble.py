"""Full disks, memory that runs out and errors: what they cost a run of several trials, and whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.sharing.grids import Kind
from lab.sharing.running import column, go, opened, small_study, tables
from regrow.errors import StoreError
from regrow.lab.events import Event, Progressed

LATE = Kind(settings={"source": "accumulated", "every_steps": 5}, thresholds=(0.3,))

HUNGRY = """
import pathlib, resource
import torch
from torch import nn

GIB = 2**30


class Net(nn.Sequential):
    steps = 0

    def forward(self, x):
        if self.training and len(x) > 2:
            self.steps += 1
            if self.steps == 8 and (self.seed == 1 or (self.seed == 2 and not self.flag.exists())):
                if self.seed == 2:
                    self.flag.touch()
                held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                hard = resource.getrlimit(resource.RLIMIT_AS)[1]
                resource.setrlimit(resource.RLIMIT_AS, (held + GIB // 4, hard))
                torch.empty(GIB)
        return super().forward(x)


def make(*, in_channels, image_size, classes, flag):
    net = Net(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
    net.seed, net.flag = torch.initial_seed(), pathlib.Path(flag)
    return net
"""

FRAGILE = """
import torch
from torch import nn


class Net(nn.Sequential):
    last = None

    def forward(self, x):
        if self.training and len(x) > 2:
            weight = self[0].weight.detach().clone()
            if self.last is not None and (weight - self.last).abs().max() > 0.2:
                raise ValueError("a filter has jumped")
            self.last = weight
        return super().forward(x)


def make(*, in_channels, image_size, classes):
    return Net(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
"""


@pytest.mark.slow
def test_no_space_for_a_fork_stops_the_study_and_loses_nothing(
    digits_npz: Path, tmp_path: Path, small_disk: Path, fill_disk: Callable[[Path], None]
) -> None:
    study = small_study(digits_npz, LATE.arms("a"))
    quiet = go(study, tmp_path / "quiet")
    full = False

    def fill(event: Event) -> None:
        nonlocal full
        if isinstance(event, Progressed) and not full:
            full = True
            fill_disk(small_disk / "filler")

    # No checkpoint is due: a fork's file is the first that is written.
    with pytest.raises(StoreError, match=r"the checkpoint cannot be written: No space") as caught:
        go(study, small_disk / "run", on_event=fill)
    assert "seed0" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((small_disk / "run" / "checkpoints").glob("*.tmp"))
    (small_disk / "filler").unlink()
    found = go(study, small_disk / "run")
    assert found.notices == []
    assert tables(found.folder) == tables(quiet.folder)


@pytest.mark.slow
def test_a_worker_without_memory_is_told_and_the_others_go_on(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hungry_nets.py").write_text(HUNGRY)
    monkeypatch.syspath_prepend(tmp_path)
    flag = tmp_path / "flag"
    model = {"name": "hungry_nets:make", "settings": {"flag": str(flag)}}
    # Nothing is ever below 0: plain training and two trials are one run to the end, and the control waits for it.
    arms = Kind(thresholds=(0.0,), fractions=(0.5, 1.0)).arms("a")
    train = {"epochs": 2, "batch_size": 16, "lr": 0.1}
    study = small_study(digits_npz, arms, model=model, seeds=[0, 1, 2, 3], train=train)
    found = go(study, tmp_path / "run")
    assert found.tally.ended == {"finished": 8, "crashed": 8}
    crashed = "SELECT DISTINCT seed FROM trials WHERE status = 'crashed'"
    assert column(found.folder, crashed) == [1, 2]
    told = set(column(found.folder, "SELECT error FROM trials WHERE error NOT LIKE '%replays%'"))
    assert told
    assert all("memory" in error for error in told)
    with opened(study, found.folder) as store:
        assert store.forget_crashed() == 8
    # Seed 2 wanted too much only once; what ended before is as it was.
    before = tables(found.folder)["trials"]
    found = go(study, found.folder)
    assert found.tally.ended == {"finished": 4, "crashed": 4}
    assert set(before) <= set(tables(found.folder)["trials"])
    assert column(found.folder, crashed) == [1]


@pytest.mark.slow
def test_an_error_is_of_those_trials_alone_that_have_it(
    digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first trial renews a filter and fails in the very epoch in which the others leave it."""
    (tmp_path / "fragile_nets.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    model = {"name": "fragile_nets:make", "settings": {}}
    arms = {
        f"a{place}": {
            "recipe": "randomout",
            "settings": {"threshold": threshold, "confirm": "gradient"},
        }
        for place, threshold in enumerate((0.5, 1e-9, 1e-8))
    }
    study = small_study(digits_npz, arms, model=model)
    alone = go(study, tmp_path / "alone", sharing=False)
    assert alone.tally.ended == {"crashed": 1, "finished": 2}
    shared = go(study, tmp_path / "shared")
    assert tables(shared.folder) == tables(alone.folder)
