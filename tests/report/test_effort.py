"""What a study has cost, and what its trials would have cost one by one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from regrow.report.effort import Effort, effort
from regrow.report.export import export
from regrow.report.read import read_results
from regrow.study.records import EpochRecord, TrialResult
from report.stored import opened, planned
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
    assert "100 network-epochs trained for trials of" in found.told
    assert "engine stack" in found.told


def test_nothing_shared_is_said_without_a_share() -> None:
    assert Effort(trained=1, in_trials=1, engine="modules").told == (
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


def _trained(folder: Path, arms: Mapping[str, Mapping[str, Any]], **asked: Any) -> int:
    """Train every trial of a study to its end, on paper; the epochs of its trials one by one."""
    found = planned(arms=arms, model={"name": "convnet"}, **asked)
    with opened(folder, arms=arms, model={"name": "convnet"}, **asked) as store:
        for spec in found.trials:
            epochs = tuple(
                EpochRecord(
                    epoch=epoch,
                    train_loss=1.0,
                    train_accuracy=0.5,
                    test_loss=1.0,
                    test_accuracy=0.5,
                    seconds=1.0,
                )
                for epoch in range(1, spec.train.epochs + 1)
            )
            result = TrialResult(
                trial=spec.trial,
                cell=spec.cell,
                arm=spec.label,
                seed=spec.seed,
                status="finished",
                majority_share=0.1,
                epochs=epochs,
            )
            store.spent(len(epochs) * spec.partners)
            store.write(result, finished_at="now")
    told = effort(read_results(folder))
    assert told is not None
    return told.in_trials


def test_a_grid_over_partners_counts_the_networks_of_each_cell(tmp_path: Path) -> None:
    arms = {"none": {"recipe": "none"}, "apart": {"recipe": "independent"}}
    found = _trained(
        tmp_path, arms, grid={"apart.partners": [2, 4]}, train={"epochs": 5}, seeds=[0, 1]
    )
    # Two seeds of five epochs: one network that both cells have in common, then two networks, then four.
    assert found == 2 * 5 * (1 + 2 + 4)


def test_a_student_is_another_one_where_its_teacher_is(tmp_path: Path) -> None:
    arms = {
        "none": {"recipe": "none"},
        "wide": {"recipe": "none", "train": {"epochs": 10}},
        "student": {"recipe": "none", "teachers": ["wide"]},
        "pupil": {"recipe": "none", "teachers": ["student"]},
    }
    found = _trained(
        tmp_path, arms, grid={"wide.train.lr": [0.1, 0.2]}, train={"epochs": 3}, seeds=[0]
    )
    # The plain arm is one trial in both cells; the teacher, its student and the student's own are two each.
    assert found == 3 + 2 * (10 + 3 + 3)


def test_a_control_is_another_one_where_what_it_replays_is(tmp_path: Path) -> None:
    arms = {
        "none": {"recipe": "none"},
        "randomout": {"recipe": "randomout"},
        "random": {"recipe": "random"},
    }
    found = _trained(
        tmp_path, arms, grid={"randomout.threshold": [1e-8, 1e-4]}, train={"epochs": 3}, seeds=[0]
    )
    assert found == 3 * (1 + 2 + 2)


def test_an_arm_that_overrides_what_the_grid_varies_is_one_trial(tmp_path: Path) -> None:
    arms = {"none": {"recipe": "none"}, "own": {"recipe": "none", "train": {"lr": 0.5}}}
    found = _trained(tmp_path, arms, grid={"train.lr": [0.1, 0.2]}, train={"epochs": 3}, seeds=[0])
    assert found == 3 * (2 + 1)
