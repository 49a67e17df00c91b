from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from regrow.cli.main import app


def test_the_report_of_a_finished_run(finished: tuple[Path, str, str]) -> None:
    out = finished[0]
    found = CliRunner().invoke(app, ["report", str(out)])
    assert found.exit_code == 0, found.stderr
    for label in ("none", "randomout", "random"):
        assert label in found.stdout
    assert found.stdout.splitlines()[-1] == f"Report: {out / 'report.html'}"


def test_its_json_is_what_the_run_printed(finished: tuple[Path, str, str]) -> None:
    found = CliRunner().invoke(app, ["report", str(finished[0]), "--json"])
    assert json.loads(found.stdout) == json.loads(finished[1])


def test_a_folder_without_results_is_bad_use(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        found = CliRunner().invoke(app, ["report", str(folder)])
        assert found.exit_code == 2
        assert found.stderr.startswith("error: ")
        assert "results.sqlite" in found.stderr
