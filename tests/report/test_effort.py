"""What a study has cost, and what its trials would have cost one by one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from regrow.report.effort import Effort, effort, told
from regrow.report.export import export
from regrow.report.read import read_results
from report.sweep_study import write_sweep


def _set(folder: Path, **values: object) -> None:
    with closing(sqlite3.connect(folder / "results.sqlite")) as database, database:
        for key, value in values.items():
            database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def test_plain_training_of_a_sweep_counts_once_a_seed(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "run")
    _set(
        folder,
        trained_network_epochs="100",
        fingerprint_document=json.dumps({"engine": "stack"}),
    )
    found = effort(read_results(folder))
    # Six cells and plain training once, of 12 seeds and the epochs of each trial.
    epochs = read_results(folder).trials[0].epochs
    assert epochs
    assert found == Effort(trained=100, in_trials=(6 + 1) * 12 * epochs, engine="stack")
    assert "100 network-epochs trained for trials of" in told(found)
    assert "engine stack" in told(found)


def test_nothing_shared_is_said_without_a_share() -> None:
    assert told(Effort(trained=1, in_trials=1, engine="modules")) == (
        "engine modules, 1 network-epoch trained"
    )


@pytest.mark.slow
def test_a_folder_from_before_has_no_sums(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "run")
    with closing(sqlite3.connect(folder / "results.sqlite")) as database, database:
        database.execute("DELETE FROM meta WHERE key = 'trained_network_epochs'")
    assert effort(read_results(folder)) is None
    export(folder, tmp_path / "there")
    assert "network-epoch" not in (tmp_path / "there" / "README.md").read_text()
    assert "network_epochs" not in (tmp_path / "there" / "summary.json").read_text()
