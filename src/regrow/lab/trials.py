"""The trials of a study: its grid multiplied out, its arms completed, in the order in which they run.

Contents: `Cell`, `TrialSpec`, `cells`, `trials`, `document`, `fingerprint_document`, `fingerprint`, `differences`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.study import (
    LAB_RECIPES,
    Arm,
    DataChoice,
    ModelChoice,
    Study,
    Training,
    check_document,
    check_training,
)

RESULTS_VERSION: Final = 1
"""Raised when a change of the laboratory changes the results of the same settings."""

RESTART_SETTINGS: Final[dict[str, int | None]] = {"check_epochs": None, "max_restarts": None}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid.

    Attributes:
        name: ``base`` without a grid, else such as ``train.lr=0.05,model.dense=16``.
        study: The study at this point: no grid, all settings of the arms filled in.
    """

    name: str
    study: Study


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One recipe, one seed, one training run: all that a worker must know.

    Attributes:
        cell: Name of the cell.
        label: Label of the arm.
        seed: The seed; the arms of one seed start from the same weights and see the same batches.
        data: The data set.
        model: The model.
        train: The training, the arm's own overrides included.
        recipe: Name of the recipe, or one of `LAB_RECIPES`.
        settings: Its settings.
        like: For a control, the trial that it replays.
    """

    cell: str
    label: str
    seed: int
    data: DataChoice
    model: ModelChoice
    train: Training
    recipe: str
    settings: Mapping[str, Any]
    like: str | None = None

    @property
    def trial(self) -> str:
        """The trial's name in the store."""
        return trial_name(self.cell, self.label, self.seed)


def trial_name(cell: str, label: str, seed: int) -> str:
    """The name of a trial.

    Args:
        cell: Name of the cell.
        label: Label of the arm.
        seed: The seed.

    Returns:
        The name.

    Examples:
        >>> trial_name("base", "randomout", 3)
        'base/randomout/seed3'
    """
    return f"{cell}/{label}/seed{seed}"


def cells(study: Study, *, where: str) -> tuple[Cell, ...]:
    """Multiply the grid out and complete the arms at each of its points.

    A control takes over the settings and the training of the arm that it replays, as far as it has
    not its own; all recipes' defaults are written out.

    Args:
        study: The study as it was written.
        where: Its file, for messages.

    Returns:
        The cells, the last key of the grid varying fastest.

    Raises:
        ConfigError: A grid key or value that does not fit, or an arm that cannot be completed.
    """
    base = study.model_dump()
    axes: list[list[tuple[str, object]]] = []
    for key, values in base.pop("grid").items():
        if not values:
            raise ConfigError(f'{where}: grid."{key}": must list at least one value')
        axes.append([(key, value) for value in values])
    found: dict[str, Cell] = {}
    for point in itertools.product(*axes):
        document = _copied(base)
        for key, value in point:
            _set(document, key, value, where=f'{where}: grid."{key}"')
        name = ",".join(f"{key}={value}" for key, value in point) or "base"
        if name in found:
            raise ConfigError(f"{where}: grid: the cell {name} is there twice")
        place = where if not point else f"{where}: grid ({name})"
        complete = _complete(check_document(document, where=place), where=place)
        found[name] = Cell(name=name, study=complete)
    return tuple(found.values())


def trials(study: Study, *, where: str = "study") -> tuple[TrialSpec, ...]:
    """List the trials in the order in which they run.

    Seed by seed, so that a study that is stopped early has all arms of the seeds that ended; a
    control comes after the trial that it replays.

    Args:
        study: The study as it was written.
        where: Its file, for messages.

    Returns:
        All trials.
    """
    points = cells(study, where=where)
    found: list[TrialSpec] = []
    for seed in study.seeds:
        for cell in points:
            arms = sorted(cell.study.arms.items(), key=lambda item: item[1].like is not None)
            for label, arm in arms:
                training = {**cell.study.train.model_dump(), **arm.train}
                found.append(
                    TrialSpec(
                        cell=cell.name,
                        label=label,
                        seed=seed,
                        data=cell.study.data,
                        model=cell.study.model,
                        train=check_training(training, where=f"{where}: arms.{label}.train"),
                        recipe=arm.recipe,
                        settings=arm.settings,
                        like=None if arm.like is None else trial_name(cell.name, arm.like, seed),
                    )
                )
    return tuple(found)


def document(study: Study, *, where: str = "study") -> dict[str, Any]:
    """The study as plain data with everything written out, as it is stored beside the results.

    Args:
        study: The study as it was written.
        where: Its file, for messages.

    Returns:
        JSON-ready; where the grid varies a setting, the value outside the grid stands.
    """
    base = study.model_copy(update={"grid": {}})
    complete = cells(base, where=where)[0].study.model_dump(mode="json")
    return {**complete, "grid": dict(study.grid), "seeds": list(study.seeds)}


def fingerprint_document(
    study: Study, *, data_digests: Mapping[str, str], where: str = "study"
) -> dict[str, Any]:
    """All that determines the results of a trial: not the seeds' number, the name, the jobs or the folder.

    Args:
        study: The study as it was written.
        data_digests: Hash of the data set by cell.
        where: Its file, for messages.

    Returns:
        JSON-ready.
    """
    return {
        "results_version": RESULTS_VERSION,
        "cells": {
            cell.name: {
                **cell.study.model_dump(mode="json", include={"data", "model", "train", "arms"}),
                "data_digest": data_digests[cell.name],
            }
            for cell in cells(study, where=where)
        },
    }


def fingerprint(found: Mapping[str, Any]) -> str:
    """Hash a fingerprint document.

    Args:
        found: What `fingerprint_document` gave.

    Returns:
        64 hexadecimal digits; the order of keys does not matter.
    """
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Name the settings in which two documents differ.

    Args:
        there: One document.
        here: The other.

    Returns:
        One entry a setting: ``key: value there, value here``.

    Examples:
        >>> differences({"train": {"lr": 0.1}}, {"train": {"lr": 0.2}})
        ['train.lr: 0.1 there, 0.2 here']
    """
    flat_there, flat_here = _flat(there), _flat(here)
    nothing = object()

    def told(flat: Mapping[str, object], key: str) -> str:
        return repr(flat[key]) if key in flat else "nothing"

    return [
        f"{key}: {told(flat_there, key)} there, {told(flat_here, key)} here"
        for key in dict.fromkeys([*flat_there, *flat_here])
        if flat_there.get(key, nothing) != flat_here.get(key, nothing)
    ]


def _flat(found: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in found.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _copied(found: Any) -> Any:
    """A deep copy of plain data."""
    if isinstance(found, dict):
        return {key: _copied(value) for key, value in found.items()}
    return [_copied(value) for value in found] if isinstance(found, list) else found


def set_key(found: dict[str, Any], key: str, value: object, *, where: str) -> None:
    """Set one value of a study by its dotted key, in place.

    ``train.<key>``, ``model.<setting>``, ``data.<setting>``, ``<arm>.<setting>``,
    ``<arm>.train.<key>``; a leading ``arms.`` is allowed before a label.

    Args:
        found: The study as plain data.
        key: The key.
        value: The value.
        where: Place of the key, for messages.

    Raises:
        ConfigError: The key has no value part.
        UnknownNameError: The first part names nothing.
    """
    first, _, rest = key.removeprefix("arms.").partition(".")
    if not rest:
        raise ConfigError(f"{where}: must be like train.lr or randomout.threshold, got '{key}'")
    if first == "train" and not key.startswith("arms."):
        found.setdefault("train", {})[rest] = value
    elif first in {"data", "model"} and not key.startswith("arms."):
        found.setdefault(first, {}).setdefault("settings", {})[rest] = value
    elif first in found.get("arms", {}):
        arm: dict[str, Any] = found["arms"][first]
        part, _, name = rest.partition(".")
        if part in {"train", "settings"} and name:
            arm.setdefault(part, {})[name] = value
        else:
            arm.setdefault("settings", {})[rest] = value
    else:
        known = ["train", "model", "data", *found.get("arms", {})]
        raise UnknownNameError("part of the study", first, known, where=where)


def _set(found: dict[str, Any], key: str, value: object, *, where: str) -> None:
    """A grid's value: only scalars can stand in a cell's name."""
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{where}: must list texts, numbers, true or false, got {value!r}")
    set_key(found, key, value, where=where)


# ---- completing the arms -----------------------------------------------------------------------------


def _complete(study: Study, *, where: str) -> Study:
    """The study with every default of data, model and recipes written out, and every name checked."""
    from regrow.lab import data, models  # noqa: PLC0415 # a worker needs neither to unpack its task

    parts: dict[str, Any] = {}
    for part, choice, home in (("data", study.data, data), ("model", study.model, models)):
        try:
            home.check(choice.name, choice.settings)
        except (ConfigError, UnknownNameError) as error:
            raise ConfigError(f"{where}: {part}: {error}") from error
        full = {**home.defaults(choice.name), **choice.settings}
        parts[part] = choice.model_copy(update={"settings": full})
    arms: dict[str, Arm] = {}
    for label, arm in study.arms.items():
        arms[label] = _completed(study, label, arm, where=f"{where}: arms.{label}")
    return study.model_copy(update={"arms": arms, **parts})


def _completed(study: Study, label: str, arm: Arm, *, where: str) -> Arm:
    """The arm with its recipe's defaults written out and, for a control, its partner found."""
    from regrow import recipes  # noqa: PLC0415 # imports torch, which reading a study's records must not

    check_training({**study.train.model_dump(), **arm.train}, where=f"{where}.train")
    if arm.recipe not in {*LAB_RECIPES, *recipes.names()}:
        raise UnknownNameError(
            "recipe", arm.recipe, [*LAB_RECIPES, *recipes.names()], where=f"{where}.recipe"
        )
    control = arm.recipe not in LAB_RECIPES and recipes.info(arm.recipe).control
    if arm.like is not None and not control:
        raise ConfigError(f"{where}.like: is for controls, and recipe '{arm.recipe}' is none")
    if arm.recipe in LAB_RECIPES:
        return arm.model_copy(update={"settings": _lab_settings(study, arm, where=where)})
    defaults = recipes.settings(arm.recipe)
    if not control:
        recipes.build(arm.recipe, arm.settings, where=f"{where}.settings")
        return arm.model_copy(update={"settings": {**defaults, **arm.settings}})
    like = _partner(study, label, arm, where=where)
    partner = study.arms[like]
    shared = {key: value for key, value in partner.settings.items() if key in defaults}
    recipes.build(arm.recipe, {**shared, **arm.settings}, like=[], where=f"{where}.settings")
    return arm.model_copy(
        update={
            "settings": {**defaults, **shared, **arm.settings},
            "train": {**partner.train, **arm.train},
            "like": like,
        }
    )


def _partner(study: Study, label: str, arm: Arm, *, where: str) -> str:
    """The label of the arm that a control replays."""
    from regrow import recipes  # noqa: PLC0415

    tested = [
        other
        for other, candidate in study.arms.items()
        if candidate.recipe in recipes.names() and not recipes.info(candidate.recipe).control
    ]
    if arm.like is None:
        if len(tested) == 1:
            return tested[0]
        if not tested:
            raise ConfigError(
                f"{where}: the control '{arm.recipe}' replays an arm with a recipe, and the study has none"
            )
        raise ConfigError(
            f"{where}.like: must say which arm is replayed, one of {', '.join(tested)}"
        )
    if arm.like not in tested:
        raise UnknownNameError("arm with a recipe", arm.like, tested, where=f"{where}.like")
    return arm.like


def _lab_settings(study: Study, arm: Arm, *, where: str) -> dict[str, Any]:
    if arm.recipe == "none":
        if arm.settings:
            raise ConfigError(
                f"{where}.settings: 'none' has no settings, got {', '.join(arm.settings)}"
            )
        return {}
    found: dict[str, Any] = {**RESTART_SETTINGS, **arm.settings}
    for key, value in arm.settings.items():
        place = f"{where}.settings"
        if key not in RESTART_SETTINGS:
            raise UnknownNameError(
                "setting of recipe 'restart'", key, RESTART_SETTINGS, where=place
            )
        least = 1 if key == "check_epochs" else 0
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or value < least
        ):
            raise ConfigError(f"{place}.{key}: must be a whole number from {least}, got {value!r}")
    if found["check_epochs"] is None:
        epochs = arm.train.get("epochs", study.train.epochs)
        found["check_epochs"] = max(1, round(0.1 * epochs))
    return found
