"""A study at each point of its grid, completed: defaults written out, controls paired, teachers checked.

Called by `study/trials.py`, which makes trials of the cells, and by `study/relations.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from regrow._named import FORM
from regrow.errors import ConfigError, UnknownNameError
from regrow.neutral import OF
from regrow.study.document import (
    Arm,
    DataChoice,
    Distillation,
    ModelChoice,
    Study,
    Training,
    check_document,
    check_training,
)
from regrow.study.folder import sha256_of
from regrow.study.keys import set_key
from regrow.study.known import CONTROLS, Known, filled
from regrow.study.mistakes import at
from regrow.study.stream import BitFlipping, refuse_beside_stream

if TYPE_CHECKING:
    from regrow.compose import RecipeInfo

_TAKEN_OVER = ("model", "data", "teachers", "teacher_digests", "distillation")

OF_AN_ARM = frozenset({"scale"})
"""Settings of the data that an arm may have for itself: what they change leaves arms comparable image by image."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid."""

    name: str  # ``base`` without a grid, else such as ``train.lr=0.05,model.dense=16``
    study: Study  # the study at this point: no grid, all settings of the arms filled in


def cells(study: Study, *, complete: Callable[[Study, str], Study], where: str) -> tuple[Cell, ...]:
    """Multiply the grid out and complete the study at each of its points, the last key varying fastest."""
    base = study.model_dump(exclude={"grid"})
    if study.stream is not None:
        del base["train"]["epochs"]  # the stream says it, in each cell its own
    _refuse_values(study, where=where)
    axes = [[(key, value) for value in values] for key, values in study.grid.items()]
    found: dict[str, Cell] = {}
    for point in itertools.product(*axes):
        document = deepcopy(base)
        for key, value in point:
            set_key(document, key, value, where=f'{where}: grid."{key}"')
        name = ",".join(f"{key}={value}" for key, value in point) or "base"
        if name in found:
            raise ConfigError(f"{where}: grid: the cell {name} is there twice")
        place = where if not point else f"{where}: grid ({name})"
        found[name] = Cell(name=name, study=complete(check_document(document, where=place), place))
    return tuple(found.values())


def _refuse_values(study: Study, *, where: str) -> None:
    """Refuse an empty axis of the grid; only scalars can stand in a cell's name."""
    for key, values in study.grid.items():
        place = f'{where}: grid."{key}"'
        if not values:
            raise ConfigError(f"{place}: must list at least one value")
        for value in values:
            if not isinstance(value, str | int | float):
                raise ConfigError(
                    f"{place}: must list texts, numbers, true or false, got {value!r}"
                )


def complete(study: Study, known: Known, *, where: str) -> Study:
    """Write out every default of data, model and recipes, and check every name.

    A control takes over the settings, the training, the model and the teachers of the arm that it is like, as far as
    it has not its own; where it is made of that arm's recipe, all of the settings, and the recipe's name.
    """
    parts: dict[str, Any] = {}
    for part, choice, shelf in (
        ("data", _data_of(study, where=where), known.data),
        ("model", study.model, known.models),
    ):
        with at(f"{where}: {part}"):
            shelf.check(choice.name, choice.settings)
        full = filled(shelf.defaults(choice.name), choice.settings)
        parts[part] = choice.model_copy(update={"settings": full})
    facts = {
        label: _facts(known, arm.recipe, where=f"{where}: arms.{label}.recipe")
        for label, arm in study.arms.items()
    }
    arms = {label: _completed(study, known, facts, label, where=where) for label in study.arms}
    found = study.model_copy(update={"arms": arms, **parts})
    for label, arm in arms.items():
        place = f"{where}: arms.{label}"
        arms[label] = _taught(found, label, _modelled(found, known, arm, where=place), where=place)
    in_order(arms, where=where)
    return found.model_copy(update={"arms": arms})


def _data_of(study: Study, *, where: str) -> DataChoice:
    """The data set; of a stream that makes its own examples what it says of them, in each cell its own."""
    stream, data = study.stream, study.data
    if not isinstance(stream, BitFlipping):
        return data
    own = {"bits": stream.bits}
    if data.settings not in ({}, own):
        told = ", ".join(f"{key} = {value}" for key, value in data.settings.items())
        raise ConfigError(
            f"{where}: data.settings: must be left out, for stream.bits says how many inputs there are "
            f"({stream.bits}), got {told}"
        )
    return data.model_copy(update={"settings": own})


def model_of(study: Study, known: Known, arm: Arm) -> ModelChoice:
    """The model of one arm with all settings: the study's, or its own where it says so."""
    own = {key: value for key, value in arm.model.items() if key != "name"}
    name: str = arm.model.get("name", study.model.name)
    defaults = known.models.defaults(name)
    base = study.model.settings if name == study.model.name else defaults
    return ModelChoice(name=name, settings=filled(defaults, {**base, **own}))


def data_of(study: Study, arm: Arm) -> DataChoice:
    """The data of one arm with all settings: the study's, or its own where it says so."""
    return study.data.model_copy(update={"settings": {**study.data.settings, **arm.data}})


def training_of(study: Study, label: str, arm: Arm, *, where: str) -> Training:
    """The training of one arm: the study's, but for what it has of its own."""
    values = {**study.train.model_dump(), **arm.train}
    return check_training(values, where=where, path=f"arms.{label}.train")


def _facts(known: Known, recipe: str, *, where: str) -> RecipeInfo:
    """How a recipe is compared; a user's is imported."""
    try:
        return known.recipes.info(recipe)
    except UnknownNameError:
        names = [*known.recipes.names(), FORM]
        raise UnknownNameError("recipe", recipe, names, where=where) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _completed(
    study: Study, known: Known, facts: Mapping[str, RecipeInfo], label: str, *, where: str
) -> Arm:
    """The arm with its recipe's defaults written out and, for a control, its partner found."""
    arm = study.arms[label]
    training = training_of(study, label, arm, where=where)
    where = f"{where}: arms.{label}"
    if study.stream is not None:
        networks = facts[label].partners
        refuse_beside_stream(study.stream, arm, training, networks=networks, where=where)
    if facts[label].role in CONTROLS:
        like = _partner(facts, arm, where=where)
        partner = study.arms[like]
        settings = {**partner.settings, OF: partner.recipe}
        if not _of_recipe(facts[label], facts[like], arm):
            own = known.recipes.settings(arm.recipe)
            settings = {key: value for key, value in partner.settings.items() if key in own}
        arm = _as_partner(arm, like, partner, settings)
    elif arm.like is not None:
        raise ConfigError(f"{where}.like: is for controls, and recipe '{arm.recipe}' is none")
    full = known.recipes.complete(
        arm.recipe, arm.settings, epochs=training.epochs, where=f"{where}.settings"
    )
    return arm.model_copy(update={"settings": full})


def _as_partner(arm: Arm, like: str, partner: Arm, settings: Mapping[str, object]) -> Arm:
    """A control with what it takes over from the arm that it replays: what it has not itself."""
    own = {key: getattr(arm, key) or getattr(partner, key) for key in _TAKEN_OVER}
    return arm.model_copy(
        update={
            "like": like,
            "settings": {**settings, **arm.settings},
            "train": {**partner.train, **arm.train},
            **own,
        }
    )


def _of_recipe(control: RecipeInfo, tested: RecipeInfo, arm: Arm) -> bool:
    """Whether a control is made of the recipe under test, and not of settings that only it has."""
    if control.role != "control":
        return True
    made_of = {control.made_of, tested.made_of}
    return "settings" not in made_of and (not arm.settings or OF in arm.settings)


def _modelled(study: Study, known: Known, arm: Arm, *, where: str) -> Arm:
    """The arm with its own model's and data's settings checked, and numbers as the model takes them."""
    name: object = arm.model.get("name", study.model.name)
    if not isinstance(name, str):
        raise ConfigError(f"{where}.model.name: must be a text, got {name!r}")
    with at(f"{where}.model"):
        full = model_of(study, known, arm)
        known.models.check(name, full.settings)
    for key in sorted(arm.data.keys() - OF_AN_ARM):
        raise UnknownNameError(
            "setting of the data for an arm alone", key, OF_AN_ARM, where=f"{where}.data"
        )
    with at(f"{where}.data"):
        known.data.check(study.data.name, data_of(study, arm).settings)
    own = {key: name if key == "name" else full.settings[key] for key in arm.model}
    return arm.model_copy(update={"model": own})


def _partner(facts: Mapping[str, RecipeInfo], arm: Arm, *, where: str) -> str:
    """The label of the arm that a control is the control of."""
    # A control can replay what renews filters.
    tested = [
        label for label, found in facts.items() if found.role == "method" and not found.partners
    ]
    if arm.like is None:
        if len(tested) == 1:
            return tested[0]
        if not tested:
            raise ConfigError(
                f"{where}: the control '{arm.recipe}' replays an arm with a recipe, and the study has none that renews "
                "filters; networks that graft are compared with recipe 'independent' and with amplitude=0"
            )
        raise ConfigError(f"{where}.like: must say whose control it is, one of {', '.join(tested)}")
    if arm.like not in tested:
        raise UnknownNameError("arm with a recipe", arm.like, tested, where=f"{where}.like")
    return arm.like


def _taught(study: Study, label: str, arm: Arm, *, where: str) -> Arm:
    """Check the teachers of an arm, hash their files, and write its distillation out."""
    if not arm.teachers:
        for key, given in (
            ("distillation", arm.distillation),
            ("teacher_digests", arm.teacher_digests),
        ):
            if given:
                raise ConfigError(f"{where}.{key}: needs teachers, and the arm has none")
        return arm
    digests: dict[str, str] = {}
    for teacher in arm.teachers:
        if arm.teachers.count(teacher) > 1:
            raise ConfigError(f"{where}.teachers: '{teacher}' is there twice")
        if teacher == label:
            raise ConfigError(f"{where}.teachers: an arm cannot teach itself, got '{teacher}'")
        if teacher.endswith(".pt"):
            digests[teacher] = _digest(teacher, arm.teacher_digests.get(teacher), where=where)
        elif teacher not in study.arms:
            others = [other for other in study.arms if other != label]
            raise UnknownNameError(
                "teacher", teacher, [*others, "PATH.pt"], where=f"{where}.teachers"
            )
        elif data_of(study, study.arms[teacher]) != data_of(study, arm):
            raise ConfigError(
                f"{where}.teachers: '{teacher}' must see images of the arm's own scale, for it answers to the arm's"
            )
    strange = [path for path in arm.teacher_digests if path not in digests]
    if strange:
        raise UnknownNameError(
            "file among the teachers", strange[0], digests, where=f"{where}.teacher_digests"
        )
    asked = arm.distillation or Distillation()
    return arm.model_copy(update={"teacher_digests": digests, "distillation": asked})


def in_order(arms: Mapping[str, Arm], *, where: str) -> list[str]:
    """The arms in an order in which each comes after what it replays and what teaches it; else as they were written."""
    sorter = TopologicalSorter(
        {
            label: {other for other in (arm.like, *arm.teachers) if other in arms}
            for label, arm in arms.items()
        }
    )
    try:
        sorter.prepare()
    except CycleError as error:
        raise ConfigError(
            f"{where}: arms: an arm runs after its teachers and after the arm that it replays, and "
            f"{' -> '.join(error.args[1])} is a circle"
        ) from error
    found: list[str] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found += [label for label in arms if label in ready]
        sorter.done(*ready)
    return found


def _digest(path: str, told: str | None, *, where: str) -> str:
    """A file's hash: part of what determines the results, and the same to the study's end."""
    with at(f"{where}.teachers"):
        found = sha256_of(path)
    if told not in {None, found}:
        raise ConfigError(f"{where}.teacher_digests: {path} must have {told}, got {found}")
    return found
