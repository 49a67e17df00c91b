"""A study with a stream from the file to the page, as anybody runs it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app
from regrow.lab.config import load_plan
from report.drawn import blank

STUDIES = Path(__file__).parents[2] / "studies"

STUDY = """
name = "tiny-stream"
seeds = 2

[data]
name = "digits"
settings = { scale = "unit", n_train = 64, n_test = 40 }

[model]
name = "mlp"
settings = { width = 8 }

[stream]
kind = "permuted"
images = 32
tasks = 3
epochs = 2

[train]
batch_size = 16
optimizer = "adam"
lr = 0.01

[arms.none]
recipe = "none"

[arms.fresh]
recipe = "restart-each-task"

[arms.redo]
recipe = "redo"
settings = { threshold = 0.5, every_steps = 3 }

[arms.random]
recipe = "random"
like = "redo"
"""


def test_a_stream_is_run_and_reported(tmp_path: Path) -> None:
    file, out = tmp_path / "study.toml", tmp_path / "run"
    file.write_text(STUDY)
    with blank():  # what is drawn has tests of its own
        ran = CliRunner().invoke(app, ["run", str(file), "--out", str(out), "--jobs", "1"])
        told = CliRunner().invoke(app, ["report", str(out), "--json"])
    assert ran.exit_code == 0, ran.output
    assert "Online accuracy in the last of 3 tasks." in ran.output
    summary = json.loads(told.output)
    (cell,) = summary["cells"]
    assert [arm["label"] for arm in cell["tasks"]] == ["none", "fresh", "redo", "random"]
    assert all(arm["n"] == 2 for arm in cell["tasks"])
    figures = {path.name for path in (out / "figures").glob("*.svg")}
    assert figures >= {"base-tasks.svg", "base-health.svg", "base-renewals-by-task.svg"}
    with blank():
        again = CliRunner().invoke(app, ["run", str(file), "--out", str(out), "--jobs", "1"])
    assert "all 8 trials have ended already" in again.output


@pytest.mark.parametrize("name", ["streams-digits.toml", "streams-memo400.toml"])
def test_the_studies_can_be_read(name: str) -> None:
    planned = load_plan(STUDIES / name)
    told = tomllib.loads((STUDIES / name).read_text())["stream"]
    for cell in planned.cells:
        assert cell.study.train.epochs == told["tasks"] * told["epochs"]
