"""Reading a results folder: everything that is there, and a clear line for everything that is not."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from regrow.errors import StoreError
from regrow.report.read import read_results

if TYPE_CHECKING:
    from conftest import RunFolder  # pyright: ignore[reportMissingImports]


def _edit(folder: Path, statement: str, *values: object) -> None:
    database = sqlite3.connect(folder / "results.sqlite")
    with database:
        database.execute(statement, values)
    database.close()


def test_a_whole_study_is_read(rescued: Path) -> None:
    found = read_results(rescued)
    assert [arm.label for arm in found.study.arms] == ["none", "randomout", "random"]
    assert found.study.baseline == "none"
    assert found.study.controls == {"random": "randomout"}
    assert found.cells == ("base",)
    assert len(found.trials) == 72
    assert found.missing == 0
    assert list(found.arm("base", "randomout")) == list(range(24))
    assert found.environment["torch"] == "2.13.0"


def test_epochs_and_renewals_are_counted_by_epoch_and_layer(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run(epochs=4)
    run.add("randomout", 3, 0.9, renewals=[(1, "conv1", 2), (1, "conv2", 1), (3, "conv1", 1)])
    found = read_results(run.close())
    trial = found.arm("base", "randomout")[3]
    assert trial.renewed == 4
    assert Counter((each.epoch, each.layer) for each in found.renewals[trial.trial]) == {
        (1, "conv1"): 2,
        (1, "conv2"): 1,
        (3, "conv1"): 1,
    }
    assert sorted(found.accuracies[trial.trial]) == [1, 2, 3, 4]
    assert found.accuracies[trial.trial][4] == 0.9


def test_epochs_without_an_evaluation_are_absent(new_run: Callable[..., RunFolder]) -> None:
    run = new_run(epochs=4)
    run.add("none", 0, 0.9)
    folder = run.close()
    _edit(folder, "UPDATE epochs SET test_accuracy = NULL WHERE epoch < 4")
    assert dict(read_results(folder).accuracies["base/none/seed0"]) == {4: 0.9}


def test_missing_trials_are_counted_over_the_grid(partial: Path) -> None:
    found = read_results(partial)
    assert found.study.trials == 2 * 3 * 10
    assert found.missing == 60 - (10 + 10 + 1 + 3)


def test_a_crashed_trial_has_no_accuracy_whatever_the_file_says(partial: Path) -> None:
    _edit(partial, "UPDATE trials SET test_accuracy = 0.99 WHERE status = 'crashed'")
    assert read_results(partial).arm("train.lr=0.03", "randomout")[9].test_accuracy is None


def test_cells_are_in_the_order_of_their_numbers(new_run: Callable[..., RunFolder]) -> None:
    key = "arms.randomout.threshold"
    run = new_run(grid={key: [1e-8, 1e-12, 0.5, 10]})
    for value in ("10", "1e-08", "0.5", "1e-12"):
        run.add("none", 0, 0.9, cell=f"{key}={value}")
    assert read_results(run.close()).cells == (
        f"{key}=1e-12",
        f"{key}=1e-08",
        f"{key}=0.5",
        f"{key}=10",
    )


@pytest.mark.parametrize(
    ("arms", "baseline"),
    [
        ({"a": "randomout", "none": "none"}, "none"),
        ({"a": "randomout", "plain": "none"}, "plain"),
        ({"a": "randomout", "b": "randomout"}, "a"),
    ],
)
def test_the_baseline_is_the_arm_none_or_without_recipe_or_the_first(
    new_run: Callable[..., RunFolder], arms: dict[str, str], baseline: str
) -> None:
    run = new_run(arms={label: {"recipe": recipe} for label, recipe in arms.items()})
    assert read_results(run.close()).study.baseline == baseline


def test_reading_changes_nothing_and_sees_what_a_running_study_has_committed(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    run.add("none", 0, 0.9)
    assert len(read_results(run.folder).trials) == 1  # while the writer is open
    run.add("none", 1, 0.9)
    assert len(read_results(run.folder).trials) == 2
    there = sorted(path.name for path in run.close().iterdir())
    before = (run.folder / "results.sqlite").read_bytes()
    read_results(run.folder)
    assert (run.folder / "results.sqlite").read_bytes() == before
    assert sorted(path.name for path in run.folder.iterdir()) == there


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"must hold results\.sqlite"):
        read_results(tmp_path)
    with pytest.raises(StoreError, match=r"must hold results\.sqlite"):
        read_results(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="must be a results file of regrow"):
        read_results(tmp_path)


def test_a_truncated_database_is_refused(rescued: Path) -> None:
    file = rescued / "results.sqlite"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(StoreError, match=r"results\.sqlite"):
        read_results(rescued)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "results.sqlite")
    database.execute("CREATE TABLE songs (title TEXT)")
    database.close()
    with pytest.raises(StoreError, match="must be a results file of regrow"):
        read_results(tmp_path)


def test_another_version_is_refused(rescued: Path) -> None:
    _edit(rescued, "UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match="schema_version must be 3 or 4, got 2; read it with the"):
        read_results(rescued)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("{", "must be JSON"),
        ("[]", "must be a JSON object, got list"),
        (json.dumps({"name": "x", "seeds": []}), "is not a study"),
        (json.dumps({"name": "x", "grid": {}, "seeds": 3}), "is not a study"),
    ],
)
def test_a_damaged_study_is_refused(rescued: Path, study: str, message: str) -> None:
    _edit(rescued, "UPDATE meta SET value = ? WHERE key = 'study'", study)
    with pytest.raises(StoreError, match=message):
        read_results(rescued)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 'many' WHERE key = 'trained_network_epochs'",
        "UPDATE trials SET test_accuracy = 'high' WHERE seed = 3",
        "UPDATE epochs SET seconds = 'long'",
    ],
)
def test_a_damaged_number_is_told_in_one_line(rescued: Path, statement: str) -> None:
    _edit(rescued, "INSERT OR REPLACE INTO meta VALUES ('trained_network_epochs', '7')")
    assert read_results(rescued).trained == 7
    _edit(rescued, statement)
    with pytest.raises(StoreError, match=r"results\.sqlite: its records are damaged: ValueError"):
        read_results(rescued)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE trials SET arm = 'other' WHERE seed = 3", "of no arm of the study"),
        ("UPDATE trials SET cell = 'train.lr=2' WHERE seed = 3", "of no arm of the study"),
        ("DELETE FROM arms", "must name at least one arm"),
        ("UPDATE trials SET majority_share = NULL", "no majority_share"),
    ],
)
def test_trials_that_contradict_the_study_are_refused(
    rescued: Path, statement: str, message: str
) -> None:
    _edit(rescued, statement)
    with pytest.raises(StoreError, match=message):
        read_results(rescued)


def test_a_folder_with_odd_characters_is_read(new_run: Callable[..., Any]) -> None:
    run = new_run(name="a b%20c?d#e")
    run.add("none", 0, 0.9)
    assert len(read_results(run.close()).trials) == 1
