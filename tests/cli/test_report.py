from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app
from regrow.errors import StoreError


def test_the_report_of_a_finished_run(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    out = finished[0]
    found = CliRunner().invoke(app, ["report", str(out), "--export", str(tmp_path)])
    assert found.exit_code == 0, found.stderr
    for label in ("none", "randomout", "random"):
        assert label in found.stdout
    *_, report, tables = found.stdout.splitlines()
    assert report == f"Report: {out / 'report.html'}"
    assert tables.startswith("Tables: ")


def test_its_json_is_what_the_run_printed(finished: tuple[Path, str, str]) -> None:
    found = CliRunner().invoke(app, ["report", str(finished[0]), "--json"])
    assert json.loads(found.stdout) == json.loads(finished[1])


def test_a_folder_without_results_is_bad_use(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        found = CliRunner().invoke(app, ["report", str(folder)])
        assert found.exit_code == 2
        assert found.stderr.startswith("error: ")
        assert "results.sqlite" in found.stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_folder_that_cannot_be_written_is_shown_all_the_same(
    options: list[str], finished: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwritable(folder: Path) -> None:
        raise StoreError(f"{folder}: the report cannot be written: Read-only file system")

    monkeypatch.setattr("regrow.report.write.write_report", unwritable)
    found = CliRunner().invoke(app, ["report", str(finished[0]), *options])
    assert found.exit_code == 2
    assert found.stderr == (
        f"error: {finished[0]}: the report cannot be written: Read-only file system\n"
    )
    if options:
        assert json.loads(found.stdout) == json.loads(finished[1])
    else:
        assert "Wilcoxon p" in found.stdout
        assert "Report:" not in found.stdout


def test_the_terminal_says_what_failed_means_and_keeps_to_its_width(
    finished: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    found = CliRunner().invoke(app, ["report", str(finished[0])])
    text = found.stdout.partition("Report:")[0]
    assert max(map(len, text.splitlines())) <= 60
    assert "Failed: at most" in " ".join(text.split())
