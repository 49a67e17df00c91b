"""What a queue of trials costs the process that keeps the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 2**20

SCRIPT = """
import json, sys
from pathlib import Path

from lab.sharing.running import opened, small_study
from regrow.lab.plan import plan
from regrow.lab.engines import stack  # what a run loads, before anything is measured
from regrow.lab.events import Ended
from regrow.lab.executor import run_study
from regrow.lab.worker import WorkerSettings



class Enough(Exception):
    pass


def stop(event):
    if isinstance(event, Ended):
        raise Enough


def peak():
    # Not getrusage, whose ru_maxrss begins with what the process held that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def study_of(thresholds, seeds):
    grid = {
        "arms.randomout.threshold": [10.0 ** -(4 + place / 8) for place in range(thresholds)],
        "arms.randomout.active_fraction": [0.1, 0.2, 0.3, 0.4, 0.5],
    }
    arms = {"none": {"recipe": "none"}, "randomout": {"recipe": "randomout", "settings": {"confirm": "gradient"}}}
    train = {"epochs": 1, "batch_size": 96, "lr": 0.1}
    return small_study(Path(digits), arms, grid=grid, seeds=seeds, train=train)


def queue(study, folder):
    specs = plan(study).trials
    with opened(study, folder, engine="stack") as store:
        try:
            run_study(specs, store, jobs=1, settings=WorkerSettings(engine="stack"), on_event=stop)
        except Enough:
            pass
    return len(specs)


if __name__ == "__main__":
    digits, folder, thresholds, seeds = sys.argv[1:3] + list(map(int, sys.argv[3:]))
    queue(study_of(1, 1), Path(folder) / "first")  # all that is loaded once is loaded
    before = peak()
    count = queue(study_of(thresholds, seeds), Path(folder) / "run")
    print(json.dumps({"trials": count, "before": before, "peak": peak()}))
"""


def measured(digits: Path, folder: Path, *, thresholds: int, seeds: int) -> dict[str, int]:
    """Peak memory of a parent, in bytes, before and with so many trials."""
    folder.mkdir()
    script = folder / "queue_of_trials.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, script, digits, folder, str(thresholds), str(seeds)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_fourteen_thousand_queued_trials_need_little_more_than_a_hundred(
    digits_npz: Path, tmp_path: Path
) -> None:
    few = measured(digits_npz, tmp_path / "few", thresholds=5, seeds=2)
    many = measured(digits_npz, tmp_path / "many", thresholds=28, seeds=50)
    assert (few["trials"], many["trials"]) == (100, 14_000)
    more = (many["peak"] - few["peak"]) / MIB
    # A few names and a few hundred bytes a trial: nothing that belongs to a network.
    assert more < 16, f"{more:.1f} MiB more"
