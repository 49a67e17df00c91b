"""Studies that are run in a folder, and what is in the folder then."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regrow.lab.events import Event, Noticed
from regrow.lab.executor import Tally, Workers, run_study
from regrow.lab.plan import plan
from regrow.lab.worker import WorkerSettings
from regrow.study.document import EngineName, Study, check_document
from regrow.study.storage import Place
from regrow.study.store import Store
from regrow.study.trials import TrialSpec

TIMES = {"seconds", "recipe_seconds", "finished_at"}

Tables = dict[str, list[tuple[object, ...]]]


@dataclass
class Outcome:
    """How a session in a folder ended."""

    folder: Path
    tally: Tally
    effort: int
    """Epochs of single networks that were trained in all sessions of the folder."""
    asked: int
    """What they would be without sharing."""
    events: list[Event] = field(default_factory=list[Event])

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Noticed)]


def small_study(digits: Path, arms: Mapping[str, Mapping[str, Any]], **parts: Any) -> Study:
    """A study of a few digits, with parts of its document replaced."""
    base: dict[str, Any] = {
        "name": "shared",
        "data": {"name": f"npz:{digits}"},
        "model": {
            "name": "cratercnn",
            "settings": {"filters": 3, "dense": 8, "init": "kaiming_normal"},
        },
        "train": {"epochs": 6, "batch_size": 16, "lr": 0.1},
        "arms": arms,
        "seeds": [0],
    }
    return check_document({**base, **parts}, where="test")


def opened(
    study: Study, folder: Path, *, engine: EngineName = "modules", files: Place | None = None
) -> Store:
    digests = {cell.name: "d" for cell in plan(study, where="test").cells}
    return Store(
        folder,
        document=plan(study).document,
        fingerprint_document=plan(study).fingerprint_document(data_digests=digests, engine=engine),
        arms=plan(study).arms,
        environment={},
        files=None if files is None else lambda _: files,
    )


def go(
    study: Study,
    folder: Path,
    *,
    specs: Sequence[TrialSpec] | None = None,
    engine: EngineName = "modules",
    sharing: bool = True,
    jobs: int = 1,
    stack_size: int | None = None,
    checkpoint_every_s: float = 1000.0,
    on_event: Callable[[Event], object] = lambda event: None,
    workers: Workers | None = None,
    files: Place | None = None,
) -> Outcome:
    """Run a study, or go on with it."""
    chosen = plan(study).trials if specs is None else specs
    events: list[Event] = []

    def told(event: Event) -> None:
        events.append(event)
        on_event(event)

    with opened(study, folder, engine=engine, files=files) as store:
        tally = run_study(
            chosen,
            store,
            jobs=jobs,
            settings=WorkerSettings(engine=engine, checkpoint_every_s=checkpoint_every_s),
            sharing=sharing,
            stack_size=stack_size,
            on_event=told,
            workers=workers,
        )
        effort = store.effort
    asked = sum(spec.train.epochs * spec.partners for spec in chosen)
    return Outcome(folder, tally, effort, asked, events)


def tables(folder: Path) -> Tables:
    """All tables of a results folder without the columns of times: what no way of running may change."""
    found: Tables = {}
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        names = [
            row[0]
            for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if row[0] != "meta"
        ]
        for table in names:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(column for column in columns if column not in TIMES)
            rows = database.execute(f"SELECT {kept} FROM {table}").fetchall()  # noqa: S608 # our own names
            found[table] = sorted(rows, key=repr)
    return found


def column(folder: Path, text: str) -> list[Any]:
    """The first column of a query."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as database:
        return [row[0] for row in database.execute(text)]


def first_renewals(folder: Path) -> set[int]:
    """The epochs in which trials first renewed a filter: where they came to differ from plain training."""
    return set(column(folder, "SELECT MIN(epoch) FROM renewals GROUP BY trial"))
