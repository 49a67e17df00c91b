"""Recipes with a hyphen in their name, from the command line to the results."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app


@pytest.mark.slow
def test_scions_run_beside_a_plain_training(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["run", "--data", "digits", "--seeds", "1", "--epochs", "3", "--jobs", "1"]
    for recipe in ("none", "noise-scion", "internal-scion"):
        arguments += ["--recipe", recipe]
    for setting in (
        "noise-scion.threshold=4.0",
        "noise-scion.decay=0.01",  # small enough for a training of three epochs
        "internal-scion.threshold=4.0",
    ):
        arguments += ["--set", setting]
    found = CliRunner().invoke(app, [*arguments, "--json", "--out", str(out)])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["trials"] == {"expected": 3, "ended": 3, "missing": 0}
    study = json.loads((out / "study.json").read_text())
    assert study["arms"]["noise-scion"]["settings"]["decay"] == 0.01
    with sqlite3.connect(out / "results.sqlite") as database:
        rows = database.execute(
            "SELECT DISTINCT arm, epoch FROM renewals JOIN trials USING (trial) ORDER BY arm, epoch"
        ).fetchall()
    # Not after the third epoch, the last.
    assert rows == [(arm, epoch) for arm in ("internal-scion", "noise-scion") for epoch in (1, 2)]
