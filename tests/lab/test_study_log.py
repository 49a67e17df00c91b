"""The metrics of a study's trials in a log: each epoch once, and what is stored."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lab.test_executor import opened
from regrow.errors import ConfigError, RegrowWarning
from regrow.lab.executor import run_study
from regrow.lab.plan import plan
from regrow.lab.study_log import StudyLog
from regrow.logs import CSVLog
from regrow.logs.named import log_named
from regrow.study.document import Study

MakeStudy = Callable[..., Study]


def test_each_epoch_of_each_trial_is_written_once_as_it_is_stored(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    settings = ("randomout.confirm=gradient", "randomout.threshold=0.05")
    study = tiny_study("none", "randomout", settings=settings, seeds=2)
    specs = plan(study).trials
    path, handed_on = tmp_path / "metrics.csv", []
    with opened(study, tmp_path / "run") as store:
        run_study(specs, store, jobs=2, on_event=StudyLog(CSVLog(path), then=handed_on.append))
        database = store.folder / "results.sqlite"
    lines = list(csv.DictReader(path.read_text().splitlines()))
    found = {(line["name"], int(line["step"])): float(line["value"]) for line in lines}
    assert len(found) == len(lines)
    expected: dict[tuple[str, int], float] = {}
    for trial, epoch, *values in _rows(
        database, "trial, epoch, train_loss, train_accuracy, test_loss, test_accuracy", "epochs"
    ):
        names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        for name, value in zip(names, values, strict=True):
            if value is not None:
                expected[f"regrow/{trial}/{name}", epoch] = value
    for trial, epochs, renewed in _rows(database, "trial, epochs, renewed", "trials"):
        expected[f"regrow/{trial}/renewed", epochs] = renewed
    assert found == pytest.approx(expected, rel=1e-12)
    assert any(name.endswith("/renewed") and value > 0 for (name, _), value in found.items())
    assert handed_on


def _rows(database: Path, columns: str, table: str) -> list[tuple]:

    with sqlite3.connect(database) as connection:
        return connection.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608


def test_a_log_that_fails_costs_a_warning_and_no_trial(
    tiny_study: MakeStudy, tmp_path: Path
) -> None:
    def full(step: int, values: Mapping[str, float]) -> None:
        raise OSError("no space left")

    study = tiny_study("none", seeds=2)
    specs = plan(study).trials
    with opened(study, tmp_path / "run") as store:
        with pytest.warns(RegrowWarning, match="log full has failed at step 1"):
            tally = run_study(specs, store, jobs=1, on_event=StudyLog(full))
        assert tally.ended["finished"] == len(specs)


@pytest.mark.parametrize("name", ["csv:", "csv", "metrics.csv", "tensorboad:runs"])
def test_a_log_that_nobody_knows_is_one_line(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        log_named(name)
    assert f"'{name}'" in str(caught.value) or "tensorboad" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_of_ones_own_is_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_logs.py").write_text("seen = []\ndef keep(step, values): seen.append(step)\n")
    monkeypatch.chdir(tmp_path)
    log = log_named("my_logs:keep")
    assert callable(log)
    log(3, {"a": 1.0})
    import my_logs

    assert my_logs.seen == [3]
