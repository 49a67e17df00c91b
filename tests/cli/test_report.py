from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from regrow.cli.main import app


def test_a_folder_without_results_is_bad_use(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        found = CliRunner().invoke(app, ["report", str(folder)])
        assert found.exit_code == 2
        assert found.stderr.startswith("error: ")
        assert "results.sqlite" in found.stderr
