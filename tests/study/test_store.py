from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from regrow.errors import StoreError
from regrow.study.records import (
    CorrelationRecord,
    EpochRecord,
    LayerRecord,
    OverlapRecord,
    RenewalRecord,
    RestingRecord,
    TrialResult,
)
from regrow.study.store import Store, engine_of


def opened(folder: Path, **changes: Any) -> Store:
    training = {"lr": 0.1, "epochs": 2, **changes.pop("train", {})}
    document = {"name": "mine", "seeds": changes.pop("seeds", [0, 1]), "train": training}
    environment = {"torch": changes.pop("torch", "2.13.0"), "command": "regrow run"}
    assert not changes
    return Store(
        folder,
        document=document,
        fingerprint_document={"cells": {"base": {"train": training}}},
        environment=environment,
        arms=(),
    )


def result(seed: int = 0, **changes: Any) -> TrialResult:
    records = [
        EpochRecord(
            epoch=epoch,
            train_loss=1.5,
            train_accuracy=0.5,
            test_loss=None,
            test_accuracy=0.25 * epoch,
            seconds=2.0,
        )
        for epoch in (1, 2)
    ]
    renewals = (
        RenewalRecord(step=4, epoch=1, layer="conv2", filter=7, score=0.0),
        RenewalRecord(step=4, epoch=1, layer="conv1", filter=3, score=None),
        RenewalRecord(step=4, epoch=1, layer="conv2", filter=1, score=0.0),
        RenewalRecord(step=9, epoch=2, layer="conv1", filter=3, score=1e-9),
    )
    values: dict[str, Any] = {
        "trial": f"base/ro/seed{seed}",
        "cell": "base",
        "arm": "ro",
        "seed": seed,
        "status": "finished",
        "majority_share": 0.6,
        "epochs": tuple(records),
        "steps": 12,
        "renewals": renewals,
    }
    return TrialResult(**{**values, **changes})


def test_a_trial_is_kept_with_its_epochs_and_renewals(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as store:
        store.write(result(), finished_at="now")
        assert store.ended() == {"base/ro/seed0": "finished"}
        assert store.accuracies() == {"base/ro/seed0": 0.5}
        assert store.renewals("base/ro/seed0") == [
            (4, "conv2", (7, 1)),
            (4, "conv1", (3,)),
            (9, "conv1", (3,)),
        ]
    rows = sqlite3.connect(tmp_path / "run" / "results.sqlite").execute(
        "SELECT epochs, steps, renewed, renewal_steps, seconds, test_loss, test_accuracy FROM trials"
    )
    assert rows.fetchall() == [(2, 12, 4, 2, 4.0, None, 0.5)]


def test_a_trial_is_written_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write(result(), finished_at="now")
        with pytest.raises(StoreError, match="cannot be written: UNIQUE"):
            store.write(result(steps=99), finished_at="later")
        assert store.ended() == {"base/ro/seed0": "finished"}


def test_a_trial_that_cannot_be_written_whole_is_not_there_at_all(tmp_path: Path) -> None:
    twice = (*result().renewals, result().renewals[0])
    with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="UNIQUE"):
            store.write(result(renewals=twice), finished_at="now")
        assert store.ended() == {}
        store.write(result(), finished_at="now")


def test_a_folder_is_opened_again_and_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write(result(), finished_at="now")
    with opened(tmp_path) as store:
        assert store.ended() == {"base/ro/seed0": "finished"}
        assert store.notices == []


def test_another_study_is_refused_by_name_of_the_setting(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with pytest.raises(StoreError) as caught:
        opened(tmp_path, train={"lr": 0.2})
    text = str(caught.value)
    assert "holds the results of another study (mine)" in text
    assert "cells.base.train.lr: 0.1 there, 0.2 here" in text
    assert "\n" not in text
    with opened(tmp_path):  # and the refusal has not kept the lock
        pass


def test_seeds_may_be_added_and_not_taken_away(tmp_path: Path) -> None:
    with opened(tmp_path, seeds=[0, 1]):
        pass
    with opened(tmp_path, seeds=[0, 1, 2]):
        pass
    with pytest.raises(StoreError, match="seeds: 0, 1, 2 there, 0, 1 here"):
        opened(tmp_path, seeds=[0, 1])


def test_other_versions_are_told(tmp_path: Path) -> None:
    with opened(tmp_path, torch="2.12.0"):
        pass
    with opened(tmp_path, torch="2.13.0") as store:
        assert len(store.notices) == 1
        assert "torch 2.12.0 then, 2.13.0 now" in store.notices[0]


def test_two_runs_cannot_hold_one_folder(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(StoreError, match=rf"another run is at work here \(process {os.getpid()}\)"),
    ):
        opened(tmp_path)
    with opened(tmp_path):
        pass


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StoreError, match="run: cannot be used as a results folder: "):
        opened(tmp_path / "run")


@pytest.mark.parametrize(
    "content", [b"this is no database, but long enough to look", b"\x00" * 4096]
)
def test_a_damaged_database_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "results.sqlite").write_bytes(content)
    with pytest.raises(StoreError, match=r"results\.sqlite: is damaged \(.*begin anew$"):
        opened(tmp_path)
    assert (tmp_path / "results.sqlite").read_bytes() == content


@pytest.mark.parametrize("value", ["{", "[]", "1"])
def test_a_damaged_fingerprint_is_told_by_the_store_alone(tmp_path: Path, value: str) -> None:
    with opened(tmp_path):
        pass
    assert engine_of(tmp_path) == "modules"
    with closing(sqlite3.connect(tmp_path / "results.sqlite")) as database, database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'fingerprint_document'", (value,))
    assert engine_of(tmp_path) is None
    with pytest.raises(StoreError, match=r"results\.sqlite: its records are damaged: "):
        opened(tmp_path, train={"lr": 0.2})


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "results.sqlite") as database:
        database.execute("CREATE TABLE songs (name TEXT)")
    with pytest.raises(StoreError, match="is no results file of regrow"):
        opened(tmp_path)


@pytest.mark.parametrize("version", ["2", "7"])
def test_another_schema_is_not_gone_on_with(tmp_path: Path, version: str) -> None:
    with opened(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "results.sqlite") as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
    with pytest.raises(
        StoreError, match=f"schema_version must be 3 or 4, got {version}; go on with"
    ):
        opened(tmp_path)


def test_diagnostics_are_kept_row_by_row(tmp_path: Path) -> None:
    renewals = (
        RenewalRecord(step=9, epoch=2, layer="b", filter=1, score=0.5, dropped=4, change=0.25),
    )
    with opened(tmp_path) as store:
        store.write(
            result(
                renewals=renewals,
                resting=(RestingRecord(layer="a", filter=2, dropped=11),),
                layers=(LayerRecord(layer="b", filters=4), LayerRecord(layer="a", filters=3)),
                overlaps=(OverlapRecord(epoch=1, layer="b", mean=0.1, largest=None, out=2),),
                correlations=(
                    CorrelationRecord(epoch=1, ranking="r", value=None, rank=-0.5, filters=7),
                ),
            ),
            finished_at="now",
        )
        assert store.renewals("base/ro/seed0") == [(9, "b", (1,))]
    database = sqlite3.connect(tmp_path / "results.sqlite")
    trial = "base/ro/seed0"
    for table, columns, rows in (
        ("renewals", "trial, step, epoch, layer, filter, score, dropped, change",
         [(trial, 9, 2, "b", 1, 0.5, 4, 0.25)]),
        ("resting", "trial, layer, filter, dropped", [(trial, "a", 2, 11)]),
        ("layers", "trial, layer, filters", [(trial, "b", 4), (trial, "a", 3)]),
        ("overlaps", "trial, epoch, layer, mean, largest, out", [(trial, 1, "b", 0.1, None, 2)]),
        ("correlations", "trial, epoch, ranking, value, rank, filters",
         [(trial, 1, "r", None, -0.5, 7)]),
    ):  # fmt: skip
        found = database.execute(f"SELECT {columns} FROM {table} ORDER BY rowid")  # noqa: S608
        assert found.fetchall() == rows, table


def test_crashed_trials_can_be_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write(result(), finished_at="now")
        crash = TrialResult(
            trial="base/ro/seed1", cell="base", arm="ro", seed=1, status="crashed", error="E"
        )
        store.write(crash, finished_at="now")
        assert store.forget_crashed() == 1
        assert store.ended() == {"base/ro/seed0": "finished"}


def test_checkpoints_of_ended_trials_and_half_written_ones_are_swept(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        kept, gone = store.checkpoint("a=1/ro/seed0"), store.checkpoint("a=1/ro/seed1")
        assert kept != store.checkpoint("a_1/ro/seed0")
        rest = kept.with_suffix(".77.tmp")
        aside = kept.with_suffix(".damaged")
        for path in (kept, gone, rest, aside):
            path.write_bytes(b"x")
        store.write(dataclasses.replace(result(0), trial="a=1/ro/seed1"), finished_at="now")
        store.sweep()
        assert sorted(store.checkpoint("").parent.iterdir()) == sorted([kept, aside])


def _write_many(store: Store) -> None:
    for seed in range(1, 2000):
        store.write(result(seed), finished_at="now")


def test_a_full_disk_is_told_and_damages_nothing(
    small_disk: Path, fill_disk: Callable[[Path], None]
) -> None:
    folder = small_disk / "run"
    with opened(folder) as store:
        store.write(result(0), finished_at="now")
        fill_disk(small_disk / "filler")
        with pytest.raises(StoreError, match=r"results\.sqlite: cannot be written: .*full"):
            _write_many(store)
        written = set(store.ended())
        assert "base/ro/seed0" in written
    (small_disk / "filler").unlink()
    with opened(folder) as store:
        assert set(store.ended()) == written
        store.write(result(5000), finished_at="now")


def test_a_read_only_folder_is_told(small_disk: Path) -> None:
    with opened(small_disk / "run"):
        pass
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match="run: cannot be used as a results folder: Read-only"):
        opened(small_disk / "run")


def _effort_written(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        asked = "SELECT value FROM meta WHERE key = 'trained_network_epochs'"
        return int(database.execute(asked).fetchone()[0])


def test_epochs_of_trials_that_did_not_end_are_counted_over_interruptions(tmp_path: Path) -> None:
    for session in range(1, 4):  # each is stopped before any trial ends
        with opened(tmp_path) as store:
            store.spent(5)
        assert _effort_written(tmp_path) == 5 * session
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as store:  # noqa: PT012
        store.spent(2)
        raise KeyboardInterrupt
    with opened(tmp_path) as store:
        assert store.effort == 17


def test_a_killed_run_loses_the_epochs_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regrow.study.store.EFFORT_EVERY_S", 0.0)
    store = opened(tmp_path)
    store.spent(3)
    assert _effort_written(tmp_path) == 3  # while the run is going on, and nothing was closed
    store.close()
