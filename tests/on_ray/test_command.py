"""`regrow run --ray`, as a user gives it: the command is killed and given again, and its module travels with it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from lab.sharing.running import tables
from on_ray.nodes import Nodes

pytest.importorskip("ray", reason="Ray is not installed here: make test-ray")

NETS = """
from torch import nn

print("said by a user's module")


def make(*, in_channels, image_size, classes, width):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, classes))
"""

STUDY = """
name = "mine"
seeds = 8
[data]
name = "npz:{data}"
[model]
name = "my_nets:make"
settings = {{ width = 3 }}
[train]
epochs = 12
batch_size = 16
[arms.none]
recipe = "none"
[arms.randomout]
recipe = "randomout"
settings = {{ confirm = "gradient", threshold = 0.1 }}
[arms.random]
recipe = "random"
"""


def ended(folder: Path) -> int:
    """Trials that are in the results of a study that may be running."""
    if not (folder / "results.sqlite").is_file():
        return 0
    try:
        with closing(sqlite3.connect(folder / "results.sqlite")) as database:
            return database.execute("SELECT COUNT(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def test_killed_and_given_again_it_ends_as_a_local_run(
    nodes: Nodes, digits_npz: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_nets.py").write_text(NETS)
    (tmp_path / "study.toml").write_text(STUDY.format(data=digits_npz))

    def begin(*options: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "regrow.cli", "run", "study.toml", "--json", *options]
        return subprocess.Popen(
            words,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    cluster = ("--ray", nodes.address, "--out", "far", "--checkpoint-every", "0")
    first = begin(*cluster)
    while ended(tmp_path / "far") < 2 and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = tables(tmp_path / "far")["trials"]
    assert 2 <= len(kept) < 24
    # What was begun may still be at work for a moment; the same command needs to know nothing of it.
    again = begin(*cluster)
    alone = begin("--out", "near", "--jobs", "1")
    out, told = again.communicate()
    assert again.returncode == 0, told
    alone_out, alone_told = alone.communicate()
    assert alone.returncode == 0, alone_told
    assert set(kept) <= set(tables(tmp_path / "far")["trials"])
    assert tables(tmp_path / "far") == tables(tmp_path / "near")
    assert "2 tasks at a time on 2 nodes of a Ray cluster" in told
    found, expected = json.loads(out), json.loads(alone_out)
    assert found.keys() == expected.keys()
