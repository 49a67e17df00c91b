"""A study on a local Ray cluster beside the local pool: the same results, trials a second, memory of who keeps them.

    make bench-ray, or: python benchmarks/ray_throughput.py [--out results/ray/throughput]

1,200 trials of small networks on digits, by two local processes and by two nodes of one processor each, then 400 that
are ten times as long; all tables are compared, but for times. Then the memory of the process that keeps the results,
with a thousand and with a hundred thousand trials queued, stopped when a hundred have ended. Each run is a process of
its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from written import write_results

# The nodes lie beside the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from lab.sharing.running import opened, tables
from on_ray.nodes import Nodes
from regrow.lab.events import Ended, Event
from regrow.lab.executor import run_study
from regrow.lab.on_ray import Cluster, RayTasks
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.lab.worker import WorkerSettings
from regrow.study.document import Study, check_document
from regrow.study.storage import Stored

ARMS = 4
STOPPED_AFTER = 100


SHORT, LONG = 4, 40
"""Epochs of a trial: a few, and as many more."""


def study_of(trials: int, epochs: int) -> Study:
    """Plain training, two thresholds and a control, so many seeds of each."""
    settings = {"confirm": "gradient", "source": "accumulated", "every_steps": 5}
    return check_document(
        {
            "name": "throughput",
            "data": {"name": "digits", "settings": {"n_train": 400, "n_test": 200}},
            "model": {
                "name": "cratercnn",
                "settings": {"filters": 4, "dense": 16, "init": "kaiming_normal"},
            },
            "train": {"epochs": epochs, "batch_size": 16, "lr": 0.05},
            "arms": {
                "none": {"recipe": "none"},
                "low": {"recipe": "randomout", "settings": {**settings, "threshold": 0.05}},
                "high": {"recipe": "randomout", "settings": {**settings, "threshold": 0.3}},
                "random": {"recipe": "random", "like": "high"},
            },
            "seeds": list(range(trials // ARMS)),
        },
        where="benchmark",
    )


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_one(
    trials: int, epochs: int, folder: Path, address: str, stop_after: int
) -> dict[str, Any]:
    """Run a study in this process: seconds, trials that ended, memory."""
    before = megabytes()
    study = study_of(trials, epochs)
    specs = plan(study).trials
    preflight(specs)  # as the command does: torch and the data set are loaded there
    planned = megabytes()
    settings = WorkerSettings(engine="stack")
    ends: list[float] = []

    def count(event: Event) -> None:
        if isinstance(event, Ended):
            ends.append(time.perf_counter())
        if stop_after and len(ends) == stop_after:
            os.kill(os.getpid(), signal.SIGINT)

    files = Stored(str(folder / "shared"))
    workers = None
    if address:
        workers = RayTasks(Cluster(address=address))
        workers.check(files)
        workers.begin(settings)
    with opened(study, folder, engine="stack", files=files if address else None) as store:
        queued = megabytes()
        started = time.perf_counter()
        tally = run_study(specs, store, jobs=2, settings=settings, on_event=count, workers=workers)
        seconds = time.perf_counter() - started
    return {
        "ended": tally.ended["finished"],
        "seconds": seconds,
        "first": ends[0] - started,
        "megabytes": {"start": before, "planned": planned, "joined": queued, "most": megabytes()},
    }


def apart(
    trials: int, folder: Path, address: str = "", *, epochs: int = SHORT, stop_after: int = 0
) -> dict[str, Any]:
    """The same in a process of its own."""
    told = (trials, epochs, folder, address, stop_after)
    words = [sys.executable, __file__, "--one", *map(str, told)]
    found = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 # itself
    return json.loads(found.stdout.splitlines()[-1])


def compare(folder: Path, trials: int) -> tuple[dict[str, Any], list[str]]:
    """Both ways, and the table."""
    nodes = Nodes(count=2)
    try:
        found = {
            (how, epochs): apart(count, folder / f"{how}{epochs}", address, epochs=epochs)
            for epochs, count in ((SHORT, trials), (LONG, trials // 3))
            for how, address in (("local", ""), ("ray", nodes.address))
        }
        queued = {
            f"{how} {count}": apart(
                count, folder / f"{how}-of-{count}", address, stop_after=STOPPED_AFTER
            )
            for how, address in (("local", ""), ("ray", nodes.address))
            for count in (1_000, 100_000)
        }
    finally:
        nodes.close()
    equal = [
        tables(folder / f"ray{epochs}")[table] == rows
        for epochs in (SHORT, LONG)
        for table, rows in tables(folder / f"local{epochs}").items()
    ]
    lines = [
        "| epochs of a trial | who trains | trials | seconds | of them until the first ended "
        "| trials a second, from then on |",
        "|--:|:--|--:|--:|--:|--:|",
    ]
    rates: dict[tuple[str, int], float] = {}
    for (how, epochs), one in found.items():
        rate = rates[how, epochs] = (one["ended"] - 1) / (one["seconds"] - one["first"])
        cells = f"{one['ended']} | {one['seconds']:.1f} | {one['first']:.1f} | {rate:.1f}"
        lines.append(f"| {epochs} | {how} | {cells} |")
    shares = {epochs: rates["ray", epochs] / rates["local", epochs] for epochs in (SHORT, LONG)}
    told = ", ".join(f"{share:.2f} with {epochs} epochs" for epochs, share in shares.items())
    lines += [
        "",
        f"Ray has of the local pool's throughput: {told}. Equal tables: {sum(equal)} of {len(equal)}.",
        "",
        "Memory of the process that keeps the results, in MB:",
        "",
        "| who trains, queued | at its start | with the trials planned | joined | most until 100 had ended |",
        "|:--|--:|--:|--:|--:|",
    ]
    for how, one in queued.items():
        cells = " | ".join(f"{value:.0f}" for value in one["megabytes"].values())
        lines.append(f"| {how} | {cells} |")
    return {
        **{f"{how} {epochs}": one for (how, epochs), one in found.items()},
        "throughput": shares,
        "queued": queued,
        "equal_tables": [sum(equal), len(equal)],
    }, lines


def main() -> None:
    """Measure, and write the table."""
    if sys.argv[1:2] == ["--one"]:
        trials, epochs, folder, address, stop_after = sys.argv[2:]
        found = run_one(int(trials), int(epochs), Path(folder), address, int(stop_after))
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1200)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        document, lines = compare(Path(name), asked.trials)
    print("\n".join(lines))
    if asked.out is not None:
        write_results(asked.out, document, lines)


if __name__ == "__main__":
    main()
