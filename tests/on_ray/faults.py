"""Faults at random moments of a study on a cluster, and what is left of the study after each."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lab.sharing.running import Tables, tables
from on_ray.nodes import Nodes

STUDY = """
name = "faults"
seeds = {seeds}
[data]
name = "npz:{data}"
[model]
name = "cratercnn"
settings = {{ filters = 3, dense = 8, init = "kaiming_normal" }}
[train]
epochs = {epochs}
batch_size = 16
lr = 0.1
[arms.none]
recipe = "none"
[arms.low]
recipe = "randomout"
settings = {{ confirm = "gradient", threshold = 0.05, source = "accumulated", every_steps = 5 }}
[arms.high]
recipe = "randomout"
settings = {{ confirm = "gradient", threshold = 0.3, source = "accumulated", every_steps = 5 }}
[arms.random]
recipe = "random"
like = "high"
[arms.big]
recipe = "none"
model = {{ filters = 4 }}
[arms.kd]
recipe = "none"
teachers = ["big"]
"""

AWAY_S = 2.0
"""How long the storage is away, and the object store full."""


@dataclass
class Outcome:
    """What faults have done.

    Attributes:
        faults: How many, by kind.
        sessions: How often the command was given.
        studies: How many studies were ended meanwhile.
        ended: Trials that had ended before some fault, over all faults.
        lost: Of these, those that were not there, or not the same, afterwards.
        different: Tables of ended studies that are not those of a quiet local run.
        said: Warnings, by their kind.
        exits: What the command said when it ended by itself without success.
    """

    faults: Counter[str] = field(default_factory=Counter[str])
    sessions: int = 0
    studies: int = 0
    ended: int = 0
    lost: int = 0
    different: int = 0
    said: Counter[str] = field(default_factory=Counter[str])
    exits: list[str] = field(default_factory=list[str])


SAYINGS = {
    "its node is gone": "node",
    "its process died": "worker",
    "their process died": "worker",
    "the storage fails": "storage",
    "set aside": "checkpoint set aside",
}


def rows(folder: Path) -> set[tuple[object, ...]]:
    """The trials in a study's results, which may be written to."""
    try:
        with closing(sqlite3.connect(folder / "results.sqlite")) as database:
            query = "SELECT trial, status, test_accuracy, renewed FROM trials"
            return set(database.execute(query).fetchall())
    except sqlite3.OperationalError:
        return set()


class Faults:
    """A study on a cluster of ours, given again and again while things break.

    Args:
        nodes: The cluster.
        folder: Where studies, storage and logs go.
        study: A study file.
        local: Its tables, from a quiet local run.
        seed: Of what breaks when.
    """

    def __init__(
        self, nodes: Nodes, folder: Path, study: Path, local: Tables, *, seed: int
    ) -> None:
        self._nodes, self._folder, self._study, self._local = nodes, folder, study, local
        self._random = random.Random(seed)  # noqa: S311 # what breaks when
        self._shared = folder / "shared"
        self.found = Outcome()
        self._kinds: dict[str, Callable[[], bool]] = {
            "worker killed": lambda: nodes.kill_task(looks=10),
            "node killed": self._kill_node,
            "driver killed": self._kill_driver,
            "storage away for 2 s": self._storage_away,
            "object store full": self._full_store,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def run(self, count: int) -> Outcome:
        """So many faults, of each kind as many; every study that is begun is ended."""
        todo = [self.kinds[place % len(self._kinds)] for place in range(count)]
        self._random.shuffle(todo)
        while todo:
            self._one_study(todo)
        return self.found

    def _one_study(self, todo: list[str]) -> None:
        out = self._folder / f"study{self.found.studies}"
        self._begin(out)
        struck = self._state(out)
        while True:
            code = self._driver.poll()
            if code == 0:
                break
            if code is not None:
                self._heard()
                self._begin(out)
            elif todo and self._state(out) != struck:
                time.sleep(self._random.uniform(0.0, 1.5))
                if self._driver.poll() is None and self._strike(todo[-1], out):
                    todo.pop()
                struck = self._state(out)
            else:
                time.sleep(0.1)
        self._heard()
        found = tables(out)
        self.found.different += sum(found[table] != held for table, held in self._local.items())
        self.found.studies += 1

    def _state(self, out: Path) -> tuple[object, ...]:
        """What changes while a study goes on: nothing breaks before something has been trained since the last time."""
        files = sorted(self._shared.glob("*/checkpoints/*.ckpt"))
        try:
            return (len(rows(out)), *((path.name, path.stat().st_mtime_ns) for path in files))
        except FileNotFoundError:  # removed meanwhile
            return (len(rows(out)),)

    def _strike(self, kind: str, out: Path) -> bool:
        before = rows(out)
        if not self._kinds[kind]():
            return False
        self.found.faults[kind] += 1
        self.found.ended += len(before)
        self.found.lost += len(before - rows(out))
        return True

    def _begin(self, out: Path) -> None:
        self.found.sessions += 1
        self._log = self._folder / "driver.log"
        options = ["--ray", self._nodes.address, "--storage", str(self._shared), "--out", str(out)]
        with self._log.open("w") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "regrow.cli", "run", str(self._study), *options, "--checkpoint-every", "0"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip

    def _heard(self) -> None:
        """Take down what the command has said, now that it has ended."""
        lines = self._log.read_text().splitlines()
        for line in lines:
            for told, kind in SAYINGS.items():
                self.found.said[kind] += told in line
        if self._driver.returncode not in {0, -signal.SIGKILL}:
            self.found.exits.append(lines[-1] if lines else "nothing")

    # ---- what breaks

    def _kill_node(self) -> bool:
        killed = self._nodes.kill_busy(looks=10)
        if killed:
            self._nodes.add()
        return killed

    def _kill_driver(self) -> bool:
        self._driver.send_signal(signal.SIGKILL)
        self._driver.wait()
        return True

    def _storage_away(self) -> bool:
        aside = self._folder / "aside"
        self._shared.rename(aside)
        time.sleep(AWAY_S)
        aside.rename(self._shared)
        return True

    def _full_store(self) -> bool:
        """Another job of the cluster that holds all but a little."""
        filler = (
            "import sys, time, numpy, ray; ray.init(address=sys.argv[1], logging_level='ERROR');"
            "held = [ray.put(numpy.zeros(2**20)) for _ in range(12)]; time.sleep(float(sys.argv[2]))"
        )
        words = [sys.executable, "-c", filler, self._nodes.address, str(AWAY_S)]
        subprocess.run(words, check=True, capture_output=True)
        return True


def write_study(folder: Path, *, seeds: int, epochs: int) -> Path:
    """A study of a few digits, and its file."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    chosen = labels < 3
    x = images[chosen].reshape(-1, 8, 8).astype(np.float32)
    y = labels[chosen].astype(np.int64)
    data = folder / "digits3.npz"
    np.savez(data, x_train=x[:96], y_train=y[:96], x_test=x[96:160], y_test=y[96:160])
    path = folder / "study.toml"
    path.write_text(STUDY.format(data=data, seeds=seeds, epochs=epochs))
    return path


def quiet(study: Path, folder: Path) -> Tables:
    """The tables of a local run in which nothing breaks."""
    words = [sys.executable, "-m", "regrow.cli", "run", str(study), "--out", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return tables(folder)
