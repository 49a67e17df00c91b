"""Folders of schema version 3, from before the relations of the arms were stored, are read and gone on with."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from golden.documents import HERE, STORED, summary
from regrow.lab.config import load_plan
from regrow.report.read import read_results
from regrow.study.store import Store
from regrow.study.trials import Plan


def copied(name: str, folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(HERE / "stored" / f"{name}.sqlite", folder / "results.sqlite")
    return folder


def meta(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        return dict(database.execute("SELECT key, value FROM meta"))


def gone_on(folder: Path, asked: Plan) -> Store:
    before = json.loads(meta(folder)["fingerprint_document"])
    digests = {name: cell["data_digest"] for name, cell in before["cells"].items()}
    return Store(
        folder,
        document=asked.document,
        fingerprint_document=asked.fingerprint_document(data_digests=digests),
        environment={},
        arms=asked.arms,
    )


@pytest.mark.parametrize("name", STORED)
def test_a_run_goes_on_and_the_report_says_the_same(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path / "run")
    assert meta(folder)["schema_version"] == "3"
    asked = load_plan(HERE / "studies" / f"{name}.toml")
    guessed = read_results(folder).study.by_cell
    with gone_on(folder, asked) as store:
        assert len(store.ended()) == len(asked.trials)
        trained = store.effort
    assert meta(folder)["schema_version"] == "4"
    found = read_results(folder)
    assert found.trained == trained
    assert list(found.study.by_cell) == [cell.name for cell in asked.cells]
    assert found.study.by_cell.keys() == guessed.keys()
    expected = json.loads((HERE / "expected" / f"{name}.json").read_text(encoding="utf-8"))
    told = summary(folder)
    # The study is written down again, with settings that came later.
    assert told.pop("study")["name"] == expected.pop("study")["name"]
    assert told == expected


def test_reading_a_folder_of_version_3_changes_nothing(tmp_path: Path) -> None:
    folder = copied("grid", tmp_path / "run")
    before = (folder / "results.sqlite").read_bytes()
    read_results(folder)
    assert (folder / "results.sqlite").read_bytes() == before
    assert meta(folder)["schema_version"] == "3"
