"""Whether sharing changes a result: a part of figure 3's grid with and without, compared table by table.

    python benchmarks/sharing_equal.py --data-dir DIR [--out results/sharing-equal]

576 trials (144 cells, plain training and RandomOut, two seeds of region East) of 12 epochs, trained twice by
`run_study` in two worker processes. All tables of both databases are compared, but for the columns of times.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from written import write_results

from regrow.lab.config import Overrides, load_study
from regrow.lab.executor import run_study
from regrow.lab.plan import plan
from regrow.lab.worker import WorkerSettings
from regrow.study.document import Study
from regrow.study.store import Store
from regrow.study.trials import TrialSpec, of_cells

STUDY = Path("studies/randomout-figure3.toml")
TIMES = {"seconds", "recipe_seconds", "finished_at"}

Tables = dict[str, list[tuple[object, ...]]]


def run(study: Study, specs: list[TrialSpec], folder: Path, data: Path, *, sharing: bool) -> int:
    """Train all trials: epochs of single networks that it took."""
    settings = WorkerSettings(data_dir=data, engine="stack")
    digests = {cell.name: "benchmark" for cell in plan(study, where=str(STUDY)).cells}
    with Store(
        folder,
        document=plan(study).document,
        fingerprint_document=plan(study).fingerprint_document(data_digests=digests, engine="stack"),
        arms=plan(study).arms,
        environment={},
    ) as store:
        run_study(specs, store, jobs=2, settings=settings, sharing=sharing)
        return store.effort


def tables(folder: Path) -> Tables:
    """All tables without the columns of times."""
    found: Tables = {}
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'meta'"
        for (table,) in database.execute(query).fetchall():
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(column for column in columns if column not in TIMES)
            rows = database.execute(f"SELECT {kept} FROM {table}").fetchall()  # noqa: S608 # our own names
            found[table] = sorted(rows, key=repr)
    return found


def main() -> None:
    """Train, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("results/sharing-equal"))
    options = parser.parse_args()
    study = load_study(STUDY, Overrides(seeds=2, train={"epochs": 12}))
    asked_for = plan(study, where=str(STUDY))
    specs = list(of_cells(asked_for.trials, ["data.region=East"], among=asked_for.cells))
    asked = sum(spec.train.epochs for spec in specs)
    with tempfile.TemporaryDirectory() as folder:
        places = {sharing: Path(folder) / str(sharing) for sharing in (True, False)}
        trained = {
            sharing: run(study, specs, place, options.data_dir, sharing=sharing)
            for sharing, place in places.items()
        }
        shared, single = tables(places[True]), tables(places[False])
    lines = ["| table | rows shared | rows one by one | |", "|:--|--:|--:|:--|"]
    for name in single:
        same = "equal" if shared[name] == single[name] else "DIFFERENT"
        lines.append(f"| {name} | {len(shared[name])} | {len(single[name])} | {same} |")
    lines += [
        "",
        f"{len(specs)} trials, {asked:,} network-epochs asked for: {trained[True]:,} trained with sharing, "
        f"{trained[False]:,} without.",
    ]
    print("\n".join(lines))
    numbers = {
        "trials": len(specs),
        "asked": asked,
        "shared": trained[True],
        "single": trained[False],
    }
    write_results(options.out, {**numbers, "equal": shared == single}, lines)


if __name__ == "__main__":
    main()
