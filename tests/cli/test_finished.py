"""What the command line says of a study that was run to its end: by itself, again, as a report and in a list.

In one file, so that it is run once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app
from regrow.errors import StoreError
from report.drawn import blank

Tables = Callable[[Path], dict[str, list[tuple[object, ...]]]]


def listed(*arguments: str) -> list[dict[str, object]]:
    found = CliRunner().invoke(app, ["ls", *arguments, "--json"])
    assert found.exit_code == 0, found.stderr
    return json.loads(found.stdout)


def test_stdout_is_json_alone_and_progress_goes_to_stderr(finished: tuple[Path, str, str]) -> None:
    out, stdout, stderr = finished
    found = json.loads(stdout)
    assert found["trials"] == {"expected": 6, "ended": 6, "missing": 0}
    assert "6 trials, 2 seeds; 2 processes" in stderr
    assert "[6/6]" in stderr
    assert (out / "report.html").is_file()
    assert json.loads((out / "study.json").read_text())["arms"]["random"]["like"] == "randomout"
    assert not list((out / "checkpoints").iterdir())


def test_the_control_repeats_its_partner_in_every_seed(finished: tuple[Path, str, str]) -> None:
    with sqlite3.connect(finished[0] / "results.sqlite") as database:
        places = {
            arm: database.execute(
                "SELECT seed, step, layer, COUNT(*) FROM renewals JOIN trials USING (trial) "
                "WHERE arm = ? GROUP BY seed, step, layer ORDER BY seed, step, layer",
                (arm,),
            ).fetchall()
            for arm in ("randomout", "random", "none")
        }
    assert places["randomout"]
    assert places["random"] == places["randomout"]
    assert not places["none"]


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_is_at_work(
    finished: tuple[Path, str, str], short_study: Path
) -> None:
    import fcntl

    with (finished[0] / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = CliRunner().invoke(app, ["run", str(short_study), "--out", str(finished[0])])
    assert found.exit_code == 2
    assert "another run is at work here" in found.stderr


def test_a_finished_folder_is_only_reported_again(
    finished: tuple[Path, str, str], short_study: Path, tables: Tables
) -> None:
    out = finished[0]
    before = tables(out)
    (out / "report.html").unlink()
    with blank():
        found = CliRunner().invoke(app, ["run", str(short_study), "--out", str(out)])
    assert found.exit_code == 0, found.stderr
    assert "all 6 trials have ended already" in found.stderr
    assert f"Report: {out / 'report.html'}" in found.stdout
    assert (out / "report.html").is_file()
    assert tables(out) == before


def test_a_folder_of_another_study_is_refused(
    finished: tuple[Path, str, str], short_study: Path, tables: Tables
) -> None:
    out = finished[0]
    before = tables(out)
    found = CliRunner().invoke(app, ["run", str(short_study), "--out", str(out), "--lr", "0.5"])
    assert found.exit_code == 2
    assert "train.lr: 0.02 there, 0.5 here" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert tables(out) == before


def test_the_report_of_a_finished_run(
    finished: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a narrow terminal; it says what failed means."""
    out = finished[0]
    monkeypatch.setenv("COLUMNS", "60")
    with blank():
        found = CliRunner().invoke(app, ["report", str(out), "--export", str(tmp_path)])
    assert found.exit_code == 0, found.stderr
    for label in ("none", "randomout", "random"):
        assert label in found.stdout
    *_, report, tables = found.stdout.splitlines()
    assert report == f"Report: {out / 'report.html'}"
    assert tables.startswith("Tables: ")
    text = found.stdout.partition("Report:")[0]
    assert max(map(len, text.splitlines())) <= 60
    assert "Failed: at most" in " ".join(text.split())


def test_its_json_is_what_the_run_printed(finished: tuple[Path, str, str]) -> None:
    with blank():
        found = CliRunner().invoke(app, ["report", str(finished[0]), "--json"])
    assert json.loads(found.stdout) == json.loads(finished[1])


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


def test_runs_are_found_with_their_state(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    out = finished[0]
    (run,) = listed("runs", str(out.parent))
    assert run["name"] == str(out)
    assert (run["ended"], run["expected"], run["arms"]) == (6, 6, ["none", "randomout", "random"])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.sqlite").write_bytes(b"no database")
    (broken,) = listed("runs", str(tmp_path))
    assert "cannot be read" in str(broken["summary"])
