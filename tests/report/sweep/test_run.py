"""A sweep from the command line: trained, stopped short, reported, exported."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from regrow.cli.main import app

pytestmark = pytest.mark.slow

STUDY = """
name = "tiny-sweep"
seeds = 2
[data]
name = "npz:{data}"
[model]
name = "cratercnn"
settings = {{ filters = 2, dense = 4, init = "kaiming_normal" }}
[train]
epochs = 2
batch_size = 32
lr = 0.02
[arms.none]
recipe = "none"
[arms.randomout]
recipe = "randomout"
settings = {{ confirm = "gradient" }}
[grid]
"arms.randomout.settings.threshold" = [1e-8, 1e9]
"randomout.active_fraction" = [0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0]
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """14 cells, two seeds: 56 trials of a moment; the folder and what the run printed."""
    folder = tmp_path_factory.mktemp("sweep")
    images, labels = load_digits(return_X_y=True)
    x, y = images.reshape(-1, 8, 8).astype(np.float32), labels.astype(np.int64)
    np.savez(folder / "d.npz", x_train=x[:96], y_train=y[:96], x_test=x[96:192], y_test=y[96:192])
    (folder / "study.toml").write_text(STUDY.format(data=folder / "d.npz"))
    arguments = ["run", str(folder / "study.toml"), "--out", str(folder / "run"), "--jobs", "1"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.stderr
    return folder / "run", found.stdout


def test_a_run_ends_with_its_panels(swept: tuple[Path, str]) -> None:
    folder, printed = swept
    assert "Complete: all 56 trials of the study ended." in printed
    title = "randomout over threshold and active_fraction"
    assert title in printed.splitlines()
    assert "Wilcoxon" not in printed
    page = (folder / "report.html").read_text()
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", page)[0] == title
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {f"base-{name}.{kind}" for name in ("map", "pairs") for kind in ("png", "svg")}


def test_its_plain_arm_is_the_same_in_every_cell(swept: tuple[Path, str]) -> None:
    document = json.loads((swept[0] / "summary.json").read_text())
    (panel,) = document["sweep"]["panels"]
    assert len({cell["numbers"]["mean_b"] for cell in panel["cells"]}) == 1
    assert [cell["numbers"]["n"] for cell in panel["cells"]] == [2] * 14
    # The high threshold redraws the four filters at each of six steps, as far as P lets it.
    fired = {(cell["y"], cell["x"]): cell["renewed"] for cell in panel["cells"]}
    assert (fired[1e9, 0.1], fired[1e9, 0.5], fired[1e9, 1.0]) == (4.0, 12.0, 24.0)


def test_its_json_and_export_agree(swept: tuple[Path, str], tmp_path: Path) -> None:
    arguments = ["report", str(swept[0]), "--json", "--export", str(tmp_path / "into")]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.stderr
    printed = json.loads(found.stdout)
    exported = json.loads((tmp_path / "into" / "summary.json").read_text())
    assert printed["sweep"] == exported["sweep"]
    assert (tmp_path / "into" / "sweep.md").is_file()
