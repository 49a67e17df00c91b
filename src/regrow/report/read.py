"""Reading a run's folder: one consistent look at its database, or one clear line of why not."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, cast

from regrow.errors import StoreError
from regrow.lab.later import with_before
from regrow.report.diagnostics import Diagnostics, read_diagnostics
from regrow.report.networks import Networks, read_networks
from regrow.report.results import Arm, Renewals, Results, Study, Trial
from regrow.report.sweep.axes import find_sweep

RESULTS_FILE: Final = "results.sqlite"
SCHEMA_VERSIONS: Final = ("1", "2", "3")
"""Those that can be read; in the first there are no diagnostics, before the third no trials of several networks."""

_ONE_OF: Final = f"{', '.join(SCHEMA_VERSIONS[:-1])} or {SCHEMA_VERSIONS[-1]}"

_TRIAL_COLUMNS: Final = (
    "trial, cell, arm, seed, status, test_accuracy, test_loss, train_accuracy, train_loss, "
    "majority_share, epochs, steps, renewed, renewal_steps, nonfinite, restarts, error, seconds, "
    "recipe_seconds"
)


def read_results(folder: Path) -> Results:
    """Read a run's folder, finished or not, without changing anything in it.

    Args:
        folder: The folder that `regrow run --out` wrote.

    Returns:
        Its results at this moment; a run that is still going is read between two of its trials. Of a large sweep the
        trials alone: no accuracies by epoch, renewals by layer or diagnostics.

    Raises:
        StoreError: The folder holds no results, or they are damaged, foreign or of another version.
    """
    file = folder / RESULTS_FILE
    if not file.is_file():
        raise StoreError(
            f"{folder}: must hold {RESULTS_FILE}, written by regrow run; there is none"
        )
    with _reading(file) as database:
        meta = {str(key): str(value) for key, value in database.execute("SELECT * FROM meta")}
        version = meta.get("schema_version")
        if version not in SCHEMA_VERSIONS:
            raise StoreError(
                f"{file}: schema_version must be {_ONE_OF}, got {version}; "
                "read it with the regrow that wrote it"
            )
        study = _study(_document(meta, "study", file), file)
        trials = _trials(database, study, file)
        # A large sweep's report shows final accuracies alone: its epochs, millions of rows, stay where they are.
        sweep = find_sweep(study)
        whole = sweep is None or not sweep.large
        accuracies = _accuracies(database) if whole else {}
        renewals = _renewals(database) if whole else {}
        diagnosed, several = whole and version != "1", whole and version not in {"1", "2"}
        diagnostics = read_diagnostics(database) if diagnosed else Diagnostics()
        networks = read_networks(database) if several else Networks()
    return Results(
        folder=folder,
        study=study,
        environment=_document(meta, "environment", file),
        fingerprint=meta.get("fingerprint", ""),
        trials=trials,
        accuracies=accuracies,
        renewals=renewals,
        diagnostics=diagnostics,
        networks=networks,
        trained=int(meta["trained_network_epochs"]) if "trained_network_epochs" in meta else None,
        engine=_engine(meta, file),
    )


@contextmanager
def _reading(file: Path) -> Generator[sqlite3.Connection]:
    """One read transaction, so that a run that goes on meanwhile cannot show two states."""
    # Every reader of a WAL database writes beside it, and only one that may write tidies up after
    # itself. Where nobody may write and no log is pending, the file alone is the whole truth.
    log = file.with_name(file.name + "-wal")
    pending = log.is_file() and log.stat().st_size > 0
    writable = os.access(file.parent, os.W_OK) and os.access(file, os.W_OK)
    mode = "rw" if writable else "ro" if pending else "ro&immutable=1"
    address = f"{file.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
            database.execute("PRAGMA query_only = ON")
            database.execute("BEGIN")
            yield database
    except sqlite3.Error as error:
        raise StoreError(
            f"{file}: must be a results file of regrow, and cannot be read as one: {error}"
        ) from error


def _engine(meta: Mapping[str, str], file: Path) -> str:
    """What made the steps; files from before there were two do not say."""
    if "fingerprint_document" not in meta:
        return "modules"
    return str(_document(meta, "fingerprint_document", file).get("engine", "modules"))


def _document(meta: Mapping[str, str], key: str, file: Path) -> dict[str, object]:
    try:
        found = json.loads(meta[key])
    except (KeyError, ValueError) as error:
        raise StoreError(f"{file}: meta.{key} must be JSON, and is missing or damaged") from error
    if not isinstance(found, dict):
        raise StoreError(f"{file}: meta.{key} must be a JSON object, got {type(found).__name__}")
    return cast("dict[str, object]", found)


def _study(document: dict[str, object], file: Path) -> Study:
    # The document was checked by the laboratory when it was written; only its shape is relied on.
    found: dict[str, Any] = document
    try:
        arms = tuple(
            Arm(
                label=label,
                recipe=arm["recipe"],
                settings=with_before(arm["recipe"], arm.get("settings") or {}),
                train=dict(arm.get("train") or {}),
                like=arm.get("like"),
                model=dict(arm.get("model") or {}),
                teachers=tuple(arm.get("teachers") or ()),
                distillation=dict(arm.get("distillation") or {}),
            )
            for label, arm in found["arms"].items()
        )
        study = Study(
            name=str(found["name"]),
            arms=arms,
            seeds=tuple(int(seed) for seed in found["seeds"]),
            grid={key: list(values) for key, values in (found.get("grid") or {}).items()},
            document=document,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{file}: meta.study is not a study: {error!r}") from error
    if not arms:
        raise StoreError(f"{file}: meta.study must name at least one arm")
    return study


def _trials(database: sqlite3.Connection, study: Study, file: Path) -> tuple[Trial, ...]:
    labels = {arm.label for arm in study.arms}
    names = _TRIAL_COLUMNS.split(", ")
    found: list[Trial] = []
    for row in database.execute(f"SELECT {_TRIAL_COLUMNS} FROM trials"):  # noqa: S608 # a constant
        values = dict(zip(names, row, strict=True))
        if values["status"] == "crashed":
            values["test_accuracy"] = None
        trial = Trial(**values)
        if trial.arm not in labels:
            raise StoreError(f"{file}: trial {trial.trial} is of no arm of the study")
        if trial.test_accuracy is not None and trial.majority_share is None:
            raise StoreError(f"{file}: trial {trial.trial} has an accuracy and no majority_share")
        found.append(trial)
    return tuple(found)


def _accuracies(database: sqlite3.Connection) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for trial, epoch, accuracy in database.execute(
        "SELECT trial, epoch, test_accuracy FROM epochs WHERE test_accuracy IS NOT NULL "
        "ORDER BY trial, epoch"
    ):
        found.setdefault(trial, {})[epoch] = accuracy
    return found


def _renewals(database: sqlite3.Connection) -> dict[str, tuple[Renewals, ...]]:
    found: dict[str, list[Renewals]] = {}
    for trial, epoch, layer, filters in database.execute(
        "SELECT trial, epoch, layer, COUNT(*) FROM renewals GROUP BY trial, epoch, layer "
        "ORDER BY trial, epoch, MIN(rowid)"
    ):
        renewals = Renewals(epoch=epoch, layer=layer, filters=filters)
        found.setdefault(trial, []).append(renewals)
    return {trial: tuple(renewals) for trial, renewals in found.items()}
