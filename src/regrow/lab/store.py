"""The results folder of a study: one SQLite file, each trial written once, in one transaction.

Reading for reports is `regrow.report.results`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from regrow._whole import write_whole
from regrow.errors import StoreError
from regrow.lab.checkpoint import CheckpointFile, Held
from regrow.lab.engines import EngineName
from regrow.lab.fingerprint import differences, fingerprint
from regrow.lab.folder import checkpoint_path, explained, file_stem, folder_held
from regrow.lab.outcome import TrialResult
from regrow.lab.schema import SCHEMA, SCHEMA_VERSION, detail_rows, trial_row

DATABASE: Final = "results.sqlite"
CHECKPOINTS: Final = "checkpoints"
WEIGHTS: Final = "weights"


class Store:
    """A results folder, open for one run at a time.

    Args:
        folder: The folder; made if it is not there.
        document: The study with everything written out.
        fingerprint_document: What determines its results.
        environment: Versions, machine, command.

    Attributes:
        folder: The folder.
        fingerprint: Hash of what determines the results.
        notices: What a user should know about this folder: versions that changed since it was begun.

    Edge cases:
        A StoreError when the folder cannot be written, another run holds it, it is damaged, or it
        belongs to another study (the message says which settings differ). The same study with more
        seeds goes on with the new ones. Fewer seeds is another study: the trials of the others would
        be in the folder and not in the study.
    """

    def __init__(
        self,
        folder: Path,
        *,
        document: Mapping[str, Any],
        fingerprint_document: Mapping[str, Any],
        environment: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.fingerprint = fingerprint(fingerprint_document)
        self.notices: list[str] = []
        self._trained = 0
        with ExitStack() as held:
            with explained(folder, "cannot be used as a results folder"):
                (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
                held.enter_context(folder_held(folder))
            with self._said("cannot be written"):
                self._connection = held.enter_context(
                    closing(sqlite3.connect(folder / DATABASE, isolation_level=None, timeout=30))
                )
                self._open(document, fingerprint_document, environment)
                self._write_study(document)
            self._held = held.pop_all()

    def _open(
        self,
        document: Mapping[str, Any],
        fingerprint_document: Mapping[str, Any],
        environment: Mapping[str, Any],
    ) -> None:
        """Begin a database, or make sure that the one there is this study's."""
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
            if not tables:
                for statement in SCHEMA:
                    self._connection.execute(statement)
                self._put(
                    schema_version=SCHEMA_VERSION,
                    study=json.dumps(document),
                    fingerprint=self.fingerprint,
                    fingerprint_document=json.dumps(fingerprint_document),
                    environment=json.dumps(environment),
                    sessions=json.dumps([]),
                )
                return
            if "meta" not in tables:
                raise StoreError(f"{self.folder / DATABASE}: is no results file of regrow")
            meta: dict[str, str] = dict(self._connection.execute("SELECT key, value FROM meta"))
            self._check_same_study(meta, document, fingerprint_document)
            self._compare_versions(json.loads(meta["environment"]), environment)
            self._trained = int(meta.get("trained_network_epochs", 0))
            sessions = [*json.loads(meta["sessions"]), environment]
            self._put(study=json.dumps(document), sessions=json.dumps(sessions))

    def _check_same_study(
        self,
        meta: Mapping[str, str],
        document: Mapping[str, Any],
        fingerprint_document: Mapping[str, Any],
    ) -> None:
        if meta.get("schema_version") != SCHEMA_VERSION:
            raise StoreError(
                f"{self.folder / DATABASE}: schema_version must be {SCHEMA_VERSION}, got "
                f"{meta.get('schema_version')}; go on with the regrow that began it"
            )
        before = json.loads(meta["study"])
        found: list[str] = []
        if meta["fingerprint"] != self.fingerprint:
            found = differences(json.loads(meta["fingerprint_document"]), fingerprint_document)
        elif not set(before["seeds"]) <= set(document["seeds"]):
            found = [f"seeds: {_short(before['seeds'])} there, {_short(document['seeds'])} here"]
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

    def _write_study(self, document: Mapping[str, Any]) -> None:
        write_whole(self.folder / "study.json", f"{json.dumps(document, indent=2)}\n".encode())

    # ---- trials

    def ended(self) -> dict[str, str]:
        """The trials that ended.

        Returns:
            Status by trial.
        """
        with self._said("cannot be read"):
            return dict(self._connection.execute("SELECT trial, status FROM trials"))

    def accuracies(self) -> dict[str, float | None]:
        """Last-epoch test accuracies so far.

        Returns:
            Accuracy by trial, for every trial that ended; None for a crash.
        """
        with self._said("cannot be read"):
            return dict(self._connection.execute("SELECT trial, test_accuracy FROM trials"))

    def renewals(self, trial: str) -> list[tuple[int, str, tuple[int, ...]]]:
        """The renewals of one trial, for the control that replays it.

        Args:
            trial: Its name.

        Returns:
            Step, layer and filters, in the order in which they happened.
        """
        found: dict[tuple[int, str], list[int]] = {}
        with self._said("cannot be read"):
            for step, layer, index in self._connection.execute(
                "SELECT step, layer, filter FROM renewals WHERE trial = ? ORDER BY rowid", (trial,)
            ):
                found.setdefault((step, layer), []).append(index)
        return [(step, layer, tuple(filters)) for (step, layer), filters in found.items()]

    def write(self, *results: TrialResult, finished_at: str) -> None:
        """Keep trials that ended, all of them whole or none, and remove nothing.

        Args:
            *results: The trials.
            finished_at: Time, for people.

        Edge cases:
            A StoreError when they cannot be written or one is there already. What was there is untouched.
        """
        with self._said("cannot be written"), self._transaction():
            for result in results:
                self._insert(result, finished_at=finished_at)
            self._put_effort()

    def _insert(self, result: TrialResult, *, finished_at: str) -> None:
        row = trial_row(result, finished_at=finished_at)
        marks = ", ".join(f":{key}" for key in row)
        self._connection.execute(
            f"INSERT INTO trials ({', '.join(row)}) VALUES ({marks})",  # noqa: S608 # our own names
            row,
        )
        for table, rows in detail_rows(result).items():
            if rows:
                self._connection.executemany(
                    f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})",  # noqa: S608 # our own names
                    rows,
                )

    def spent(self, network_epochs: int) -> None:
        """Count epochs of single networks that were trained, for `effort`; written with the next trial that ends.

        Args:
            network_epochs: How many more.
        """
        self._trained += network_epochs

    @property
    def effort(self) -> int:
        """Epochs of single networks that were trained for this folder, over all its sessions: shared ones once."""
        return self._trained

    def _put_effort(self) -> None:
        self._put(trained_network_epochs=str(self._trained))

    def forget_crashed(self) -> int:
        """Take the crashed trials out, so that they run again.

        Returns:
            How many there were.
        """
        with self._said("cannot be written"), self._transaction():
            return self._connection.execute("DELETE FROM trials WHERE status = 'crashed'").rowcount

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / CHECKPOINTS

    def held(self, trials: Iterable[str]) -> dict[str, Held]:
        """Look whose states the checkpoints have; damaged files are set aside with a warning.

        Args:
            trials: Those that a file may be named after.

        Returns:
            What each file is of, by the trial that it is named after; trials without a file are left out.
        """
        there = {path.name for path in self.checkpoints.glob("*.ckpt")}
        found: dict[str, Held] = {}
        for trial in trials if there else ():
            path = self.checkpoint(trial)
            if path.name in there:
                held = CheckpointFile(path, trial=trial, fingerprint=self.fingerprint).held()
                if held is not None:
                    found[trial] = held
        return found

    def checkpoint(self, trial: str) -> Path:
        """Where the checkpoint of a trial lies.

        Args:
            trial: Its name; any characters.

        Returns:
            A readable file name, made unique by a hash.
        """
        return checkpoint_path(self.checkpoints, trial)

    def weights(self, trial: str) -> Path:
        """Where the final weights of a trial lie, if they are kept.

        Args:
            trial: Its name; any characters.

        Returns:
            A readable file name, made unique by a hash; its folder is made when the first weights are written.
        """
        return self.folder / WEIGHTS / f"{file_stem(trial)}.pt"

    def sweep(self) -> None:
        """Remove checkpoints of trials that ended, and what killed processes left half written; weights stay."""
        over = {self.checkpoint(trial) for trial in self.ended()}
        with explained(self.folder, "cannot be written"):
            for path in self.checkpoints.iterdir():
                if path.suffix == ".tmp" or path in over:
                    path.unlink(missing_ok=True)
            for path in (self.folder / WEIGHTS).glob("*.tmp"):
                path.unlink(missing_ok=True)

    # ---- the connection

    def close(self) -> None:
        """Close the database and let the next run have the folder."""
        self._held.close()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _put(self, **values: str) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back by itself, and then there is nothing to roll back.
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _said(self, what: str) -> AbstractContextManager[None]:
        return explained(self.folder / DATABASE, what)


def engine_of(folder: Path) -> EngineName | None:
    """The engine that a folder's results were made with.

    Args:
        folder: Of a study, begun or not.

    Returns:
        The engine; None where nothing is there that can be read: opening the store then says what is wrong.
    """
    path = folder / DATABASE
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            query = "SELECT value FROM meta WHERE key = 'fingerprint_document'"
            row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else json.loads(row[0]).get("engine", "modules")


def lost_weights(path: Path, trial: str, told: str) -> str:
    """What is said when the kept weights of a trial cannot be used: nothing is trained anew in their place.

    Args:
        path: Where they should lie.
        trial: The trial; it has ended.
        told: What is wrong.

    Returns:
        The message.
    """
    return (
        f"{path}: the weights of {trial}, which has ended and is to teach, cannot be used: {told}. Put the file "
        f"back from a copy, or begin the study anew in another --out"
    )


def _short(seeds: list[int]) -> str:
    if len(seeds) > 4 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
