"""What came of a study, read from its folder: what was asked, how its arms stand to each other, and every record.

Opened by `report/read`; the records come from `study/tables`, and all of the report begins here.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from regrow.errors import ConfigError, StoreError
from regrow.study.asked import Asked, Sweep, find_sweep
from regrow.study.cells import Cell, cells
from regrow.study.document import check_document
from regrow.study.folder import explained, reading
from regrow.study.grouped import grouped
from regrow.study.records import DETAILS, ArmRecord, Trial
from regrow.study.relations import arm_records
from regrow.study.store import BEFORE, DATABASE, SCHEMA_VERSION
from regrow.study.tables import select
from regrow.study.views import Views

if TYPE_CHECKING:
    from regrow.compose import RecipeInfo

Seen = TypeVar("Seen")


@dataclass(frozen=True, kw_only=True)
class Results(Views):
    """Everything that is known of one run folder, as it stood at one moment."""

    folder: Path  # the run's folder
    study: Asked  # what was asked for
    environment: Mapping[str, object]  # versions, machine and command of the run
    fingerprint: str  # hash of what determines the results
    trials: tuple[Trial, ...]  # all trials that ended
    # Epochs of single networks that were trained; None where that was not counted.
    trained: int | None = None
    engine: str = "modules"  # what made the steps

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The cells with at least one trial, in the order of the numbers in their names."""
        return tuple(sorted({trial.cell for trial in self.trials}, key=_natural))

    @property
    def missing(self) -> int:
        """Trials that the study asked for and that have not ended."""
        return self.study.trials - len(self.trials)

    @cached_property
    def sweep(self) -> Sweep | None:
        """What the study sweeps, if anything."""
        return find_sweep(self.study)

    @property
    def large(self) -> bool:
        """Whether it is a sweep of so many cells that panels stand for them."""
        return self.sweep is not None and self.sweep.large

    def arm(self, cell: str, label: str) -> dict[int, Trial]:
        """The trials of one arm in one cell by seed, in the order of the seeds."""
        return self._by_arm.get((cell, label), {})

    def trials_in(self, cell: str) -> tuple[Trial, ...]:
        """The trials of one cell, in the order of the store."""
        return tuple(self._by_cell.get(cell, ()))

    def of_arm(self, cell: str, label: str, view: Mapping[str, Seen]) -> list[tuple[Trial, Seen]]:
        """The trials of one arm in one cell of which a view has something, each with it."""
        trials = self.arm(cell, label).values()
        return [(trial, view[trial.trial]) for trial in trials if trial.trial in view]

    @cached_property
    def _by_cell(self) -> dict[str, list[Trial]]:
        return grouped(self.trials, attrgetter("cell"))

    @cached_property
    def _by_arm(self) -> dict[tuple[str, str], dict[int, Trial]]:
        in_order = sorted(self.trials, key=attrgetter("seed"))
        by_arm = grouped(in_order, attrgetter("cell", "arm"))
        return {arm: {trial.seed: trial for trial in own} for arm, own in by_arm.items()}


def read_folder(folder: Path, *, facts: Callable[[str], RecipeInfo]) -> Results:
    """Read a run's folder as it is at this moment, between two of its trials, without changing anything in it.

    `facts`, how a recipe is compared, is asked of folders of version 3 alone, which do not say how their arms stand to
    each other. Of a large sweep the trials alone are read: no other records.
    """
    file = folder / DATABASE
    if not file.is_file():
        raise StoreError(f"{folder}: must hold {DATABASE}, written by regrow run; there is none")
    with explained(file, "cannot be read"), reading(file) as database:
        meta = {str(key): str(value) for key, value in database.execute("SELECT * FROM meta")}
        version = meta.get("schema_version")
        if version not in {BEFORE, SCHEMA_VERSION}:
            raise StoreError(
                f"{file}: schema_version must be {BEFORE} or {SCHEMA_VERSION}, got {version}; "
                "read it with the regrow that wrote it"
            )
        document = _document(meta, "study", file)
        arms = (
            arm_records(_cells(document, file), facts)
            if version == BEFORE
            else select(database, ArmRecord).get("", ())
        )
        asked = _asked(document, arms, file)
        trials = _trials(database, asked, file)
        # A large sweep's report shows final accuracies alone: its epochs, millions of rows, stay where they are.
        sweep = find_sweep(asked)
        kinds = () if sweep is not None and sweep.large else DETAILS
        details = {record: select(database, record) for record in kinds}
        counted = "trained_network_epochs" in meta
        trained = int(meta["trained_network_epochs"]) if counted else None
    return Results(
        folder=folder,
        study=asked,
        environment=_document(meta, "environment", file),
        fingerprint=meta.get("fingerprint", ""),
        trials=trials,
        details=details,
        trained=trained,
        engine=str(_document(meta, "fingerprint_document", file).get("engine", "modules")),
    )


def _document(meta: Mapping[str, str], key: str, file: Path) -> dict[str, Any]:
    try:
        found = json.loads(meta[key])
    except (KeyError, ValueError) as error:
        raise StoreError(f"{file}: meta.{key} must be JSON, and is missing or damaged") from error
    if not isinstance(found, dict):
        raise StoreError(f"{file}: meta.{key} must be a JSON object, got {type(found).__name__}")
    return cast("dict[str, Any]", found)


def _cells(document: Mapping[str, object], file: Path) -> tuple[Cell, ...]:
    try:
        study = check_document(document, where="meta.study")
    except ConfigError as error:
        raise StoreError(f"{file}: meta.study is not a study: {error}") from error
    # A stored study has everything written out.
    return cells(study, complete=lambda stored, _: stored, where=str(file))


def _asked(document: dict[str, Any], arms: tuple[ArmRecord, ...], file: Path) -> Asked:
    if not arms:
        raise StoreError(f"{file}: the table of arms must name at least one arm")
    try:
        return Asked(
            name=document["name"],
            seeds=tuple(document["seeds"]),
            grid=document["grid"],
            document=document,
            by_cell={
                cell: {arm.label: arm for arm in own}
                for cell, own in grouped(arms, attrgetter("cell")).items()
            },
        )
    except (KeyError, TypeError) as error:
        raise StoreError(f"{file}: meta.study is not a study: {error!r}") from error


def _trials(database: sqlite3.Connection, asked: Asked, file: Path) -> tuple[Trial, ...]:
    found = tuple(
        # A crashed trial measured nothing, whatever the file says.
        replace(trial, test_accuracy=None) if trial.status == "crashed" else trial
        for trial in select(database, Trial).get("", ())
    )
    for trial in found:
        if trial.arm not in asked.by_cell.get(trial.cell, {}):
            raise StoreError(f"{file}: trial {trial.trial} is of no arm of the study")
        if trial.test_accuracy is not None and trial.majority_share is None:
            raise StoreError(f"{file}: trial {trial.trial} has an accuracy and no majority_share")
    return found


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key by which lr=0.05 comes before lr=0.5 before lr=2, and 1e-12 before 1e-8."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)", name)
    return [
        (1, float(part), "") if index % 2 else (0, 0.0, part) for index, part in enumerate(parts)
    ]
