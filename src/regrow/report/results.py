"""The results of a study, read from its folder: what was asked, what ended, and nothing computed.

Contents: `read_results` and the frozen records that it returns.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from regrow.errors import StoreError

RESULTS_FILE: Final = "results.sqlite"
SCHEMA_VERSION: Final = "1"

_TRIAL_COLUMNS: Final = (
    "trial, cell, arm, seed, status, test_accuracy, test_loss, train_accuracy, train_loss, "
    "majority_share, epochs, steps, renewed, renewal_steps, nonfinite, restarts, error, seconds, "
    "recipe_seconds"
)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of a study: a recipe with its settings.

    Args:
        label: Its name in the study.
        recipe: The recipe's name; "none" and "restart" are the laboratory's own.
        settings: What the study sets of the recipe.
        train: Training settings that differ from the study's.
        like: For a control, the label of the arm that it replays.
    """

    label: str
    recipe: str
    settings: Mapping[str, object]
    train: Mapping[str, object]
    like: str | None


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study asked for.

    Args:
        name: Its name.
        arms: Its arms, in the order of the study file.
        seeds: Its seeds.
        grid: Dotted setting to the values tried; empty without a grid.
        document: The whole resolved study, for showing.
    """

    name: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    grid: Mapping[str, list[object]]
    document: Mapping[str, object]

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with: "none", else the first without a recipe."""
        labels = [arm.label for arm in self.arms]
        plain = [arm.label for arm in self.arms if arm.recipe == "none"]
        return "none" if "none" in labels else [*plain, *labels][0]

    @property
    def controls(self) -> dict[str, str]:
        """Label of each control to the label of the arm that it replays."""
        tested = [arm.label for arm in self.arms if arm.recipe not in {"none", "restart", "random"}]
        found: dict[str, str] = {}
        for arm in self.arms:
            if arm.like is not None:
                found[arm.label] = arm.like
            elif arm.recipe == "random" and len(tested) == 1:
                found[arm.label] = tested[0]
        return found

    @property
    def trials_per_cell(self) -> int:
        """How many trials each cell should have."""
        return len(self.arms) * len(self.seeds)

    @property
    def trials(self) -> int:
        """How many trials the whole study should have."""
        return self.trials_per_cell * math.prod(len(values) for values in self.grid.values())


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run that ended; accuracies are fractions after its last epoch.

    Args:
        trial: Its key in the store.
        cell: Its cell of the grid, "base" without one.
        arm: Its arm's label.
        seed: Its seed.
        status: "finished", "diverged" or "crashed".
        test_accuracy: None if it crashed: a crashed trial measured nothing.
        test_loss: Mean loss over the test set.
        train_accuracy: Accuracy during the last epoch.
        train_loss: Mean loss during the last epoch.
        majority_share: Share of the commonest class in the test set.
        epochs: Epochs trained.
        steps: Optimizer steps taken.
        renewed: Filters renewed in all.
        renewal_steps: Optimizer steps at which any filter was renewed.
        nonfinite: Scores that were NaN or infinite.
        restarts: Times that the whole network was drawn anew.
        error: The message of a crash.
        seconds: Wall time of the trial.
        recipe_seconds: Wall time inside the recipe.
    """

    trial: str
    cell: str
    arm: str
    seed: int
    status: str
    test_accuracy: float | None
    test_loss: float | None
    train_accuracy: float | None
    train_loss: float | None
    majority_share: float | None
    epochs: int | None
    steps: int | None
    renewed: int | None
    renewal_steps: int | None
    nonfinite: int | None
    restarts: int | None
    error: str | None
    seconds: float | None
    recipe_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Renewals:
    """How many filters of one layer were renewed in one epoch of one trial.

    Args:
        epoch: 1-based epoch.
        layer: Module path of the layer.
        filters: Filters renewed, those renewed twice counted twice.
    """

    epoch: int
    layer: str
    filters: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that the report needs of one run folder, as it stood at one moment.

    Args:
        folder: The run's folder.
        study: What was asked for.
        environment: Versions, machine and command of the run.
        fingerprint: Hash of what determines the results.
        trials: All trials that ended.
        accuracies: Trial key to {epoch: test accuracy}; epochs without an evaluation are absent.
        renewals: Trial key to its renewals by epoch and layer; absent without any.
    """

    folder: Path
    study: Study
    environment: Mapping[str, object]
    fingerprint: str
    trials: tuple[Trial, ...]
    accuracies: Mapping[str, Mapping[int, float]]
    renewals: Mapping[str, tuple[Renewals, ...]]

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The cells with at least one trial, in the order of the numbers in their names."""
        return tuple(sorted({trial.cell for trial in self.trials}, key=_natural))

    @property
    def missing(self) -> int:
        """Trials that the study asked for and that have not ended."""
        return self.study.trials - len(self.trials)

    def arm(self, cell: str, label: str) -> dict[int, Trial]:
        """The trials of one arm in one cell.

        Args:
            cell: The cell.
            label: The arm's label.

        Returns:
            Seed to trial, in the order of the seeds.
        """
        return self._by_arm.get((cell, label), {})

    @cached_property
    def _by_arm(self) -> dict[tuple[str, str], dict[int, Trial]]:
        found: dict[tuple[str, str], dict[int, Trial]] = {}
        for trial in sorted(self.trials, key=lambda trial: trial.seed):
            found.setdefault((trial.cell, trial.arm), {})[trial.seed] = trial
        return found


def read_results(folder: Path) -> Results:
    """Read a run's folder, finished or not, without changing anything in it.

    Args:
        folder: The folder that `regrow run --out` wrote.

    Returns:
        Its results at this moment; a run that is still going is read between two of its trials.

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
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{file}: schema_version must be {SCHEMA_VERSION}, got {version}; "
                "read it with the regrow that wrote it"
            )
        study = _study(_document(meta, "study", file), file)
        trials = _trials(database, study, file)
        accuracies: dict[str, dict[int, float]] = {}
        for trial, epoch, accuracy in database.execute(
            "SELECT trial, epoch, test_accuracy FROM epochs WHERE test_accuracy IS NOT NULL "
            "ORDER BY trial, epoch"
        ):
            accuracies.setdefault(trial, {})[epoch] = accuracy
        renewals: dict[str, list[Renewals]] = {}
        for trial, epoch, layer, filters in database.execute(
            "SELECT trial, epoch, layer, COUNT(*) FROM renewals GROUP BY trial, epoch, layer "
            "ORDER BY trial, epoch, MIN(rowid)"
        ):
            found = Renewals(epoch=epoch, layer=layer, filters=filters)
            renewals.setdefault(trial, []).append(found)
    return Results(
        folder=folder,
        study=study,
        environment=_document(meta, "environment", file),
        fingerprint=meta.get("fingerprint", ""),
        trials=trials,
        accuracies=accuracies,
        renewals={trial: tuple(found) for trial, found in renewals.items()},
    )


@contextmanager
def _reading(file: Path) -> Generator[sqlite3.Connection]:
    """One read transaction, so that a run that goes on meanwhile cannot show two states."""
    # Readers of a WAL database write beside it. Where that is impossible and no log is pending,
    # the file alone is the whole truth and SQLite may be told that nobody changes it.
    log = file.with_name(file.name + "-wal")
    pending = log.is_file() and log.stat().st_size > 0
    immutable = not pending and not os.access(file.parent, os.W_OK)
    address = file.absolute().as_uri() + "?mode=ro" + ("&immutable=1" if immutable else "")
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
            database.execute("BEGIN")
            yield database
    except sqlite3.Error as error:
        raise StoreError(
            f"{file}: must be a results file of regrow, and cannot be read as one: {error}"
        ) from error


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
                settings=dict(arm.get("settings") or {}),
                train=dict(arm.get("train") or {}),
                like=arm.get("like"),
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


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key by which lr=0.05 comes before lr=0.5 before lr=2, and 1e-12 before 1e-8."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)", name)
    return [
        (1, float(part), "") if odd else (0, 0.0, part)
        for part, odd in ((part, index % 2) for index, part in enumerate(parts))
    ]
