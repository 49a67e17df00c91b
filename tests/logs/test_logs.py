"""Logs: what is in them, and that one which fails costs one warning and no training."""

from __future__ import annotations

import csv
import errno
import pickle
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regrow
from regrow.errors import ConfigError, RegrowWarning
from regrow.logs import CSVLog
from traced import attach_traced

IMAGES = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(16) % 3


def _train(log: Any, *, steps: int = 12, **options: Any) -> tuple[list[Tensor], regrow.Report]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.1, active_fraction=0.7)
    regrower = attach_traced(
        recipe,
        model,
        optimizer,
        example_inputs=IMAGES[:2],
        total_steps=steps,
        log=log,
        log_every=4,
        **options,
    )
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        if options.get("hooks", True):
            optimizer.step()
        else:
            regrower.before_step()
            optimizer.step()
            regrower.after_step()
    return [each.detach() for each in model.parameters()], regrower.report


@pytest.mark.parametrize("hooks", [True, False])
def test_every_renewal_and_every_few_steps_are_written(hooks: bool) -> None:
    written: dict[int, Mapping[str, float]] = {}
    _, report = _train(lambda step, values: written.update({step: values}), hooks=hooks)
    renewing = {event.step + 1 for event in report.events}
    assert renewing
    assert set(written) == renewing | {4, 8, 12}
    assert written[12]["regrow/renewed"] == report.renewed
    for step in renewing:
        here = [event for event in report.events if event.step + 1 == step]
        assert written[step]["regrow/renewed/0"] == sum(len(event.filters) for event in here)
        assert written[step]["regrow/young_share"] > 0
    assert all(0 <= values["regrow/dead_share"] <= 1 for values in written.values())


def test_a_log_changes_no_bit() -> None:
    plain, _ = _train(None)
    logged, _ = _train(lambda step, values: None)
    assert all(map(torch.equal, plain, logged))


def test_young_filters_are_counted_by_their_weights() -> None:
    """Right behind the first renewal the filters that it renewed are the young ones."""
    written: list[Mapping[str, float]] = []
    _, report = _train(lambda step, values: written.append(values))
    first = next(values for values in written if values["regrow/renewed"])
    if report.events[0].step == 0:
        pytest.fail("nobody is younger than a tensor that has made one step")
    assert first["regrow/young_share"] == len(report.events[0].filters) / 8


def test_csv(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "deep" / "log.csv")
    _, report = _train(pickle.loads(pickle.dumps(log)))  # noqa: S301 # our own
    rows = list(csv.DictReader(log.path.read_text().splitlines()))
    last = {row["name"]: float(row["value"]) for row in rows if row["step"] == "12"}
    assert last["regrow/renewed"] == report.renewed
    assert log.path.read_text().count("step,name,value") == 1
    _train(log)
    assert log.path.read_text().count("step,name,value") == 1


def test_a_resumed_training_goes_on_in_the_log() -> None:
    """What was renewed before is in the count, and is not told as new."""
    _, before = _train(None)
    assert before.renewed
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    written: dict[int, Mapping[str, float]] = {}
    recipe = regrow.RandomOut(confirm="gradient", threshold=0.0)
    regrower = attach_traced(
        recipe,
        model,
        optimizer,
        example_inputs=IMAGES[:2],
        total_steps=20,
        log=lambda step, values: written.update({step: values}),
        log_every=100,
    )
    regrower.load_state_dict({**regrower.state_dict(), "step": 12, "report": before.saved()})
    for _ in range(2):
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()
    assert not written
    regrower.detach()
    assert list(written) == [14]
    assert written[14]["regrow/renewed"] == before.renewed
    assert written[14]["regrow/dead_share"] == 0


class _Full:
    """A disk that is full from the second entry on."""

    def __init__(self) -> None:
        self.calls = 0

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.calls += 1
        if self.calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_fails_costs_one_warning_and_no_bit() -> None:
    plain, _ = _train(None)
    log = _Full()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        logged, report = _train(log)
    [one] = [each for each in told if "log _Full has failed" in str(each.message)]
    assert one.category is RegrowWarning
    assert "No space left on device" in str(one.message)
    assert log.calls == 2
    assert report.steps == 12
    assert all(map(torch.equal, plain, logged))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk() -> None:
    with pytest.warns(RegrowWarning, match="No space left on device"):
        _train(CSVLog("/dev/full"))


@pytest.mark.parametrize("log", [CSVLog, 3, sys.stdout], ids=["a class", "a number", "a file"])
def test_what_is_no_log_is_refused_at_once(log: Any) -> None:
    with pytest.raises(ConfigError, match=r"log must be one of regrow\.logs"):
        _train(log)


def test_nothing_of_a_log_is_imported_before_it_is_asked_for() -> None:
    """Not even torch; that the loop imports the protocol alone is a contract of the import linter."""
    program = (
        "import sys, regrow.logs\n"
        "asked = ('torch', 'tensorboard', 'wandb', 'mlflow')\n"
        "ours = [f'regrow.logs.{name}' for name in ('csv', *asked[1:])]\n"
        "print([name for name in (*asked, *ours) if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("every", "expected"), [(1, [1, 2]), (100, [2])])
def test_a_log_ends_with_its_regrower(every: int, expected: list[int]) -> None:
    written: list[int] = []
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    regrower = attach_traced(
        regrow.RandomOut(active_fraction=1.0),
        model,
        optimizer,
        example_inputs=IMAGES[:2],
        log=lambda step, values: written.append(step),
        log_every=every,
    )
    for step in range(3):
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        if step == 2:
            regrower.detach()
        optimizer.step()
    assert written == expected
    assert not optimizer._optimizer_step_post_hooks
