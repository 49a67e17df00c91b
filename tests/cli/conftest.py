"""Start the command line as a user does, in processes of its own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from regrow.cli.main import app

TIMES = {"seconds", "recipe_seconds", "finished_at"}

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a few seconds on the first 600 of scikit-learn's digits, read from a file of ours."""
    folder = tmp_path_factory.mktemp("study")
    images, labels = load_digits(return_X_y=True)
    x, y = images.reshape(-1, 8, 8).astype(np.float32), labels.astype(np.int64)
    np.savez(
        folder / "digits.npz",
        x_train=x[:600],
        y_train=y[:600],
        x_test=x[600:900],
        y_test=y[600:900],
    )
    path = folder / "study.toml"
    path.write_text(
        f"""
name = "tiny"
seeds = 2
[data]
name = "npz:{folder / "digits.npz"}"
[model]
name = "cratercnn"
settings = {{ filters = 3, dense = 8, init = "kaiming_normal" }}
[train]
epochs = 6
batch_size = 8
lr = 0.02
[arms.none]
recipe = "none"
[arms.randomout]
recipe = "randomout"
settings = {{ confirm = "gradient", threshold = 0.7 }}
[arms.random]
recipe = "random"
"""
    )
    return path


@pytest.fixture(scope="session")
def short_study(study_file: Path) -> Path:
    """The same with two epochs: enough for renewals."""
    path = study_file.with_name("short.toml")
    path.write_text(study_file.read_text().replace("epochs = 6", "epochs = 2"))
    return path


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start `regrow` with arguments, in its own process group; what is still alive at the end is ended."""
    folder = tmp_path_factory.mktemp("cwd")
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "regrow.cli", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def finished(short_study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The short study, run once without interruption: its folder, standard output and standard error."""
    out = tmp_path_factory.mktemp("finished") / "run"
    arguments = ["run", str(short_study), "--out", str(out), "--jobs", "2", "--json"]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.stderr
    return out, found.stdout, found.stderr


@pytest.fixture(scope="session")
def tables() -> Callable[[Path], dict[str, list[tuple[object, ...]]]]:
    """Everything in a results folder but the time columns."""

    def read(folder: Path) -> dict[str, list[tuple[object, ...]]]:
        found: dict[str, list[tuple[object, ...]]] = {}
        database = sqlite3.connect(folder / "results.sqlite")
        for table in ("trials", "epochs", "renewals"):
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(name for name in names if name not in TIMES)
            found[table] = sorted(
                database.execute(f"SELECT {kept} FROM {table}").fetchall(),  # noqa: S608 # our own names
                key=repr,
            )
        database.close()
        return found

    return read
