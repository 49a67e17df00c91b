"""The tables for a repository: small, complete, and of no particular machine."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from regrow.errors import StoreError
from regrow.report.export import _portable, export
from report.drawn import blank


def test_paths_are_cut_from_the_command() -> None:
    command = "/a/venv/bin/regrow run studies/x.toml --data-dir '/home/some one/data' --out runs/x"
    assert (
        _portable({"command": command})["command"]
        == "regrow run studies/x.toml --data-dir data --out runs/x"
    )


def test_missing_results_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        export(tmp_path / "nothing", tmp_path / "into")


@pytest.fixture(scope="module")
def plain(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """What is written of a study without diagnostics, all in one folder."""
    folder = tmp_path_factory.mktemp("plain")
    with blank():
        return export(shutil.copytree(made["rescued"], folder / "run"), folder / "into")


def test_everything_is_written(plain: tuple[Path, ...]) -> None:
    names = {path.name for path in plain}
    assert {"README.md", "summary.json"} <= names
    assert any(name.startswith("arms") for name in names)
    assert any(name.endswith("sorted.png") for name in names)
    [into] = {path.parent for path in plain}
    document = json.loads((into / "summary.json").read_text())
    assert "platform" not in document["environment"]
    text = (into / "README.md").read_text()
    for path in plain:
        if path.name.startswith(("arms", "paired")):
            assert path.read_text().strip() in text


def test_a_studys_note_goes_along(rescued: Path, plain: tuple[Path, ...], tmp_path: Path) -> None:
    with closing(sqlite3.connect(rescued / "results.sqlite")) as database, database:
        [text] = database.execute("SELECT value FROM meta WHERE key = 'study'").fetchone()
        noted = json.dumps({**json.loads(text), "note": "Picked."})
        database.execute("UPDATE meta SET value = ? WHERE key = 'study'", (noted,))
    with blank():
        export(rescued, tmp_path / "into")
    told = (tmp_path / "into" / "README.md").read_text()
    without = (plain[0].parent / "README.md").read_text()
    assert "of the study ended.\n\nPicked.\n" in told
    assert "Picked." not in without


def test_diagnostics_go_along_where_there_are_any(
    cycled: Path, plain: tuple[Path, ...], tmp_path: Path
) -> None:
    with blank():
        names = {path.name for path in export(cycled, tmp_path / "into")}
    assert {"picks.md", "overlap.md", "oracle.md", "base-overlap.png"} <= names
    text = (tmp_path / "into" / "README.md").read_text()
    for name in ("picks.md", "overlap.md", "oracle.md"):
        assert (tmp_path / "into" / name).read_text().strip() in text
    others = {path.name for path in plain}
    assert not others & {"picks.md", "overlap.md", "oracle.md", "base-overlap.png"}
