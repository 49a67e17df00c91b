"""A study at each point of its grid, completed: defaults written out, controls paired with what they replay."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from regrow._named import FORM
from regrow.errors import ConfigError, UnknownNameError
from regrow.neutral import OF
from regrow.study.document import Arm, ModelChoice, Study, check_document, check_training
from regrow.study.keys import set_key
from regrow.study.known import CONTROLS, Facts, Known, filled
from regrow.study.teacher_arms import in_order, taught

Point = tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid.

    Attributes:
        name: ``base`` without a grid, else such as ``train.lr=0.05,model.dense=16``.
        study: The study at this point: no grid, all settings of the arms filled in.
    """

    name: str
    study: Study


def cells(study: Study, *, complete: Callable[[Study, str], Study], where: str) -> tuple[Cell, ...]:
    """Multiply the grid out and complete the study at each of its points, the last key varying fastest."""
    base = study.model_dump(exclude={"grid"})
    found: dict[str, Cell] = {}
    for point in _points(study, where=where):
        document = deepcopy(base)
        for key, value in point:
            set_key(document, key, value, where=f'{where}: grid."{key}"')
        name = ",".join(f"{key}={value}" for key, value in point) or "base"
        if name in found:
            raise ConfigError(f"{where}: grid: the cell {name} is there twice")
        place = where if not point else f"{where}: grid ({name})"
        found[name] = Cell(name=name, study=complete(check_document(document, where=place), place))
    return tuple(found.values())


def _points(study: Study, *, where: str) -> list[Point]:
    """Its values at every point; only scalars can stand in a cell's name."""
    for key, values in study.grid.items():
        place = f'{where}: grid."{key}"'
        if not values:
            raise ConfigError(f"{place}: must list at least one value")
        for value in values:
            if not isinstance(value, str | int | float):
                raise ConfigError(
                    f"{place}: must list texts, numbers, true or false, got {value!r}"
                )
    axes = [[(key, value) for value in values] for key, values in study.grid.items()]
    return list(itertools.product(*axes))


def complete(study: Study, known: Known, *, where: str) -> Study:
    """Write out every default of data, model and recipes, and check every name.

    A control takes over the settings, the training, the model and the teachers of the arm that it is like, as far as
    it has not its own; where it is made of that arm's recipe, all of the settings, and the recipe's name.
    """
    parts: dict[str, Any] = {}
    for part, choice, shelf in (
        ("data", study.data, known.data),
        ("model", study.model, known.models),
    ):
        try:
            shelf.check(choice.name, choice.settings)
        except (ConfigError, UnknownNameError) as error:
            raise ConfigError(f"{where}: {part}: {error}") from error
        full = filled(shelf.defaults(choice.name), choice.settings)
        parts[part] = choice.model_copy(update={"settings": full})
    facts = {
        label: _facts(known, arm.recipe, where=f"{where}: arms.{label}.recipe")
        for label, arm in study.arms.items()
    }
    arms = {
        label: _completed(study, known, facts, label, where=f"{where}: arms.{label}")
        for label in study.arms
    }
    found = study.model_copy(update={"arms": arms, **parts})
    for label, arm in arms.items():
        place = f"{where}: arms.{label}"
        arms[label] = taught(found, label, _modelled(found, known, arm, where=place), where=place)
    in_order(arms, where=where)
    return found.model_copy(update={"arms": arms})


def model_of(study: Study, known: Known, arm: Arm) -> ModelChoice:
    """The model of one arm with all settings: the study's, or its own where it says so."""
    own = {key: value for key, value in arm.model.items() if key != "name"}
    name: str = arm.model.get("name", study.model.name)
    defaults = known.models.defaults(name)
    base = study.model.settings if name == study.model.name else defaults
    return ModelChoice(name=name, settings=filled(defaults, {**base, **own}))


def _facts(known: Known, recipe: str, *, where: str) -> Facts:
    """How a recipe is compared; a user's is imported."""
    try:
        return known.recipes.info(recipe)
    except UnknownNameError:
        names = [*known.recipes.names(), FORM]
        raise UnknownNameError("recipe", recipe, names, where=where) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _completed(
    study: Study, known: Known, facts: Mapping[str, Facts], label: str, *, where: str
) -> Arm:
    """The arm with its recipe's defaults written out and, for a control, its partner found."""
    arm = study.arms[label]
    place, _, path = where.rpartition(": ")
    training = {**study.train.model_dump(), **arm.train}
    epochs = check_training(training, where=place, path=f"{path}.train").epochs
    recipes = known.recipes
    control = facts[label].role in CONTROLS
    if arm.like is not None and not control:
        raise ConfigError(f"{where}.like: is for controls, and recipe '{arm.recipe}' is none")
    place = f"{where}.settings"
    if not control:
        full = recipes.complete(arm.recipe, arm.settings, epochs=epochs, where=place)
        return arm.model_copy(update={"settings": full})
    like = _partner(facts, arm, where=where)
    partner = study.arms[like]
    defaults = recipes.settings(arm.recipe)
    if _of_recipe(facts[label], facts[like], arm):
        given = {**partner.settings, **arm.settings, OF: partner.recipe}
    else:
        shared = {key: value for key, value in partner.settings.items() if key in defaults}
        given = {**shared, **arm.settings}
    return arm.model_copy(
        update={
            "settings": recipes.complete(arm.recipe, given, epochs=epochs, where=place),
            "train": {**partner.train, **arm.train},
            "like": like,
            "model": arm.model or partner.model,
            "teachers": arm.teachers or partner.teachers,
            "teacher_digests": arm.teacher_digests or partner.teacher_digests,
            "distillation": arm.distillation or partner.distillation,
        }
    )


def _of_recipe(control: Facts, tested: Facts, arm: Arm) -> bool:
    """Whether a control is made of the recipe under test, and not of settings that only it has."""
    if control.role != "control":
        return True
    made_of = {control.made_of, tested.made_of}
    return "settings" not in made_of and (not arm.settings or OF in arm.settings)


def _modelled(study: Study, known: Known, arm: Arm, *, where: str) -> Arm:
    """The arm with its own model's settings checked, and numbers as the model takes them."""
    name: object = arm.model.get("name", study.model.name)
    if not isinstance(name, str):
        raise ConfigError(f"{where}.model.name: must be a text, got {name!r}")
    try:
        full = model_of(study, known, arm)
        known.models.check(name, full.settings)
    except (ConfigError, UnknownNameError) as error:
        raise ConfigError(f"{where}.model: {error}") from error
    own = {key: name if key == "name" else full.settings[key] for key in arm.model}
    return arm.model_copy(update={"model": own})


def _renews(facts: Facts) -> bool:
    """Whether a recipe renews filters, so that a control can replay it."""
    return facts.role == "method" and not facts.partners


def _partner(facts: Mapping[str, Facts], arm: Arm, *, where: str) -> str:
    """The label of the arm that a control replays."""
    tested = [label for label, found in facts.items() if _renews(found)]
    if arm.like is None:
        if len(tested) == 1:
            return tested[0]
        if not tested:
            raise ConfigError(
                f"{where}: the control '{arm.recipe}' replays an arm with a recipe, and the study has none that renews "
                "filters; networks that graft are compared with recipe 'independent' and with amplitude=0"
            )
        raise ConfigError(
            f"{where}.like: must say which arm is replayed, one of {', '.join(tested)}"
        )
    if arm.like not in tested:
        raise UnknownNameError("arm with a recipe", arm.like, tested, where=f"{where}.like")
    return arm.like
