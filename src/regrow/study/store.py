"""The results folder of a study, written: one SQLite file, each trial once, in one transaction.

Reading for reports is `regrow.study.results`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Self, cast

from regrow._whole import write_whole
from regrow.errors import StoreError
from regrow.study.document import EngineName
from regrow.study.fingerprint import differences, fingerprint
from regrow.study.folder import checkpoint_path, explained, file_stem, folder_held, reading
from regrow.study.grouped import grouped
from regrow.study.records import DETAILS, ArmRecord, RenewalRecord, Trial, TrialResult
from regrow.study.storage import Place
from regrow.study.stream import stream_in
from regrow.study.tables import complete, insert, select

DATABASE: Final = "results.sqlite"
CHECKPOINTS: Final = "checkpoints"
WEIGHTS: Final = "weights"

SCHEMA_VERSION: Final = "4"
BEFORE: Final = "3"
"""Has the same tables but that of the arms: a run that goes on adds it."""

EFFORT_EVERY_S: Final = 1.0
"""How often the epochs that were trained are written down, while no trial ends."""


class Store:
    """A results folder, open for one run at a time.

    The same study with more seeds goes on with the new ones. Fewer seeds is another study: the trials of the others
    would be in the folder and not in the study.
    """

    def __init__(
        self,
        folder: Path,  # the folder; made if it is not there
        *,
        document: Mapping[str, Any],  # the study with everything written out
        fingerprint_document: Mapping[str, Any],  # what determines its results
        environment: Mapping[str, Any],  # versions, machine, command
        arms: Iterable[ArmRecord],  # how its arms stand to each other in each cell
        # From the fingerprint, where checkpoints and weights are kept; None: in the folder.
        files: Callable[[str], Place] | None = None,
    ) -> None:
        self.folder = folder  # the folder
        self._document, self._fingerprint_document = document, fingerprint_document
        self._environment, self._arms = environment, tuple(arms)
        self.fingerprint = fingerprint(fingerprint_document)  # hash of what determines the results
        self._files: Place = folder if files is None else files(self.fingerprint)
        # What a user should know about this folder: versions that changed since it was begun.
        self.notices: list[str] = []
        # Epochs of single networks that were trained for this folder, over all its sessions: shared ones once.
        self.effort = self._written = 0
        self._last_written = time.monotonic()
        with contextlib.ExitStack() as held:
            with explained(folder, "cannot be used as a results folder"):
                folder.mkdir(parents=True, exist_ok=True)
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                held.enter_context(folder_held(folder))
            with self._said("cannot be written"):
                database = sqlite3.connect(folder / DATABASE, isolation_level=None, timeout=30)
                self._connection = held.enter_context(contextlib.closing(database))
                self._open()
                text = json.dumps(document, indent=2)
                write_whole(folder / "study.json", f"{text}\n".encode())
            self._held = held.pop_all()

    def _open(self) -> None:
        """Begin a database, or make sure that the one there is this study's."""
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
            if not tables:
                self._connection.execute(
                    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
                )
                self._tabulate()
                self._put(
                    study=json.dumps(self._document),
                    fingerprint=self.fingerprint,
                    fingerprint_document=json.dumps(self._fingerprint_document),
                    environment=json.dumps(self._environment),
                    sessions=json.dumps([]),
                )
                return
            if "meta" not in tables:
                raise StoreError(f"{self.folder / DATABASE}: is no results file of regrow")
            meta: dict[str, str] = dict(self._connection.execute("SELECT key, value FROM meta"))
            self._check_same_study(meta)
            self._compare_versions(_document(meta["environment"]), self._environment)
            self.effort = self._written = int(meta.get("trained_network_epochs", 0))
            self._tabulate()
            sessions = [*json.loads(meta["sessions"]), self._environment]
            self._put(study=json.dumps(self._document), sessions=json.dumps(sessions))

    def _tabulate(self) -> None:
        """Make the tables that are not there yet, and say how the arms stand to each other."""
        for record in (ArmRecord, Trial, *DETAILS):
            complete(self._connection, record)
        self._connection.execute("DELETE FROM arms")
        insert(self._connection, self._arms)
        self._put(schema_version=SCHEMA_VERSION)

    def _check_same_study(self, meta: Mapping[str, str]) -> None:
        if meta.get("schema_version") not in {BEFORE, SCHEMA_VERSION}:
            raise StoreError(
                f"{self.folder / DATABASE}: schema_version must be {BEFORE} or {SCHEMA_VERSION}, got "
                f"{meta.get('schema_version')}; go on with the regrow that began it"
            )
        before, seeds = _document(meta["study"]), self._document["seeds"]
        found: list[str] = []
        if meta["fingerprint"] != self.fingerprint:
            there = _document(meta["fingerprint_document"])
            found = differences(there, self._fingerprint_document)
        elif not set(before["seeds"]) <= set(seeds):
            found = [f"seeds: {_short(before['seeds'])} there, {_short(seeds)} here"]
        if found:
            more = f" and {len(found) - 4} more" if len(found) > 4 else ""
            raise StoreError(
                f"{self.folder}: holds the results of another study ({before['name']}); "
                f"{'; '.join(found[:4])}{more}. Choose another --out."
            )

    def _compare_versions(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Other versions may round otherwise: nothing to refuse, something to say."""
        changed = [
            f"{key} {before[key]} then, {now[key]} now"
            for key in ("regrow", "torch", "python", "platform")
            if key in before and key in now and before[key] != now[key]
        ]
        if changed:
            self.notices.append(
                f"this folder was begun with other versions ({'; '.join(changed)}): "
                f"trials of the two sessions may differ in their last digits"
            )

    # ---- trials

    def ended(self) -> dict[str, str]:
        """The trials that ended."""
        with self._said("cannot be read"):
            return dict(self._connection.execute("SELECT trial, status FROM trials"))

    def accuracies(self) -> dict[str, float | None]:
        """What ended trials are judged by: test accuracies, or errors where numbers are learnt; None for a crash."""
        stream = stream_in(self._document)
        number = "test_accuracy"
        if stream is not None and stream.loss == "squared":
            number = "CASE WHEN status != 'crashed' THEN test_loss END"
        with self._said("cannot be read"):
            text = f"SELECT trial, {number} FROM trials"  # noqa: S608 # our own names
            return dict(self._connection.execute(text))

    def renewals(self, trial: str) -> list[tuple[int, str, tuple[int, ...]]]:
        """The renewals of one trial, for the control that replays it."""
        with self._said("cannot be read"):
            records = select(self._connection, RenewalRecord, trial=trial).get(trial, ())
        by_place = grouped(records, attrgetter("step", "layer"))
        return [(*place, tuple(each.filter for each in own)) for place, own in by_place.items()]

    def write(self, *results: TrialResult, finished_at: str) -> None:
        """Keep trials that ended, all of them whole or none; refused if one is there already. What was there stays."""
        with self._said("cannot be written"), self._transaction():
            for result in results:
                insert(self._connection, [result.row(finished_at=finished_at)])
                insert(self._connection, result.details, trial=result.trial)
            self._put_effort()

    def spent(self, network_epochs: int) -> None:
        """Count epochs of single networks that were trained, for `effort`; a kill loses a second's at most."""
        self.effort += network_epochs
        if time.monotonic() - self._last_written >= EFFORT_EVERY_S:
            with self._said("cannot be written"), self._transaction():
                self._put_effort()

    def _put_effort(self) -> None:
        self._put(trained_network_epochs=str(self.effort))
        self._written, self._last_written = self.effort, time.monotonic()

    def forget_crashed(self) -> int:
        """Take the crashed trials out, so that they run again."""
        with self._said("cannot be written"), self._transaction():
            return self._connection.execute("DELETE FROM trials WHERE status = 'crashed'").rowcount

    @property
    def checkpoints(self) -> Place:
        """The folder of the checkpoints."""
        return self._files / CHECKPOINTS

    def checkpoint(self, trial: str) -> Place:
        """Where the checkpoint of a trial lies."""
        return checkpoint_path(self.checkpoints, trial)

    def weights(self, trial: str) -> Place:
        """Where the final weights of a trial lie, if they are kept; the folder is made when the first are written."""
        return self._files / WEIGHTS / f"{file_stem(trial)}.pt"

    def sweep(self) -> None:
        """Remove checkpoints of trials that ended, and what killed processes left half written; weights stay."""
        over = {self.checkpoint(trial) for trial in self.ended()}
        with explained(self._files, "cannot be written"):
            for path in self.checkpoints.iterdir():
                if path.suffix == ".tmp" or path in over:
                    path.unlink(missing_ok=True)
            for path in (self._files / WEIGHTS).glob("*.tmp"):
                path.unlink(missing_ok=True)

    # ---- the connection

    def close(self) -> None:
        """Close the database and let the next run have the folder."""
        with self._held:
            if self.effort > self._written:
                with self._said("cannot be written"), self._transaction():
                    self._put_effort()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Close; an error that is under way is not hidden by that of a disk on which nothing can be written."""
        with contextlib.suppress(StoreError) if error is not None else contextlib.nullcontext():
            self.close()

    def _put(self, **values: str) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back by itself, and then there is nothing to roll back.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _said(self, what: str) -> contextlib.AbstractContextManager[None]:
        return explained(self.folder / DATABASE, what)


def engine_of(folder: Path) -> EngineName | None:
    """The engine that a folder's results were made with; None where nothing can be read: `Store` says what is wrong."""
    path = folder / DATABASE
    if not path.is_file():
        return None
    query = "SELECT value FROM meta WHERE key = 'fingerprint_document'"
    try:
        with explained(path, "cannot be read"), reading(path) as database:
            [(text,)] = database.execute(query)
            return _document(text).get("engine", "modules")
    except StoreError:
        return None


def _document(text: str) -> dict[str, Any]:
    """A JSON object; a ValueError where it is damaged."""
    found: Any = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"must be a JSON object, got {found!r}")
    return cast("dict[str, Any]", found)


def _short(seeds: list[int]) -> str:
    if len(seeds) > 4 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
