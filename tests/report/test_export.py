"""The tables for a repository: small, complete, and of no particular machine."""

import json
from pathlib import Path

import pytest

from regrow.errors import StoreError
from regrow.report.export import _portable_command, export


def test_paths_are_cut_from_the_command() -> None:
    command = "/a/venv/bin/regrow run studies/x.toml --data-dir '/home/some one/data' --out runs/x"
    assert _portable_command(command) == "regrow run studies/x.toml --data-dir data --out runs/x"


def test_missing_results_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        export(tmp_path / "nothing", tmp_path / "into")


def test_everything_is_written(rescued: Path, tmp_path: Path) -> None:
    written = export(rescued, tmp_path / "into")
    names = {path.name for path in written}
    assert {"README.md", "summary.json"} <= names
    assert any(name.startswith("arms") for name in names)
    assert any(name.endswith("sorted.png") for name in names)
    document = json.loads((tmp_path / "into" / "summary.json").read_text())
    assert "platform" not in document["environment"]
    text = (tmp_path / "into" / "README.md").read_text()
    for path in written:
        if path.name.startswith(("arms", "paired")):
            assert path.read_text().strip() in text


def test_diagnostics_go_along_where_there_are_any(
    cycled: Path, rescued: Path, tmp_path: Path
) -> None:
    names = {path.name for path in export(cycled, tmp_path / "into")}
    assert {"picks.md", "overlap.md", "oracle.md", "base-overlap.png"} <= names
    text = (tmp_path / "into" / "README.md").read_text()
    for name in ("picks.md", "overlap.md", "oracle.md"):
        assert (tmp_path / "into" / name).read_text().strip() in text
    plain = {path.name for path in export(rescued, tmp_path / "plain")}
    assert not plain & {"picks.md", "overlap.md", "oracle.md", "base-overlap.png"}
