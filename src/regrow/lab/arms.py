"""The arms of a study, completed: defaults written out, controls paired with what they replay, names checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from regrow._named import FORM
from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.study import (
    LAB_RECIPES,
    Arm,
    ModelChoice,
    Study,
    check_training,
)
from regrow.lab.teacher_arms import in_order, taught

if TYPE_CHECKING:
    from regrow.compose import RecipeInfo

LAB_SETTINGS: Final[Mapping[str, Mapping[str, int | None]]] = {
    "none": {},
    "restart": {"check_epochs": None, "max_restarts": None},
    "independent": {"partners": 2},
}
"""Settings of the arms without a recipe; ``check_epochs`` None is a tenth of the epochs."""

LEAST: Final = {"check_epochs": 1, "max_restarts": 0, "partners": 2}


def complete(study: Study, *, where: str) -> Study:
    """Write out every default of data, model and recipes, and check every name.

    A control takes over the settings, the training, the model and the teachers of the arm that it replays, as far as
    it has not its own.

    Args:
        study: The study without a grid.
        where: Its file, for messages.

    Returns:
        The study that says all.

    Raises:
        ConfigError: A setting is out of range, a control's partner is not clear, or teachers cannot teach.
    """
    from regrow.lab import data, models  # noqa: PLC0415 # a worker needs neither to unpack its task

    parts: dict[str, Any] = {}
    for part, choice, home in (("data", study.data, data), ("model", study.model, models)):
        try:
            home.check(choice.name, choice.settings)
        except (ConfigError, UnknownNameError) as error:
            raise ConfigError(f"{where}: {part}: {error}") from error
        full = _filled(home.defaults(choice.name), choice.settings)
        parts[part] = choice.model_copy(update={"settings": full})
    for label, arm in study.arms.items():
        _check_recipe(arm.recipe, where=f"{where}: arms.{label}.recipe")
    arms: dict[str, Arm] = {}
    for label, arm in study.arms.items():
        arms[label] = _completed(study, label, arm, where=f"{where}: arms.{label}")
    found = study.model_copy(update={"arms": arms, **parts})
    for label, arm in arms.items():
        place = f"{where}: arms.{label}"
        arms[label] = taught(found, label, _modelled(found, arm, where=place), where=place)
    in_order(arms, where=where)
    return found.model_copy(update={"arms": arms})


def model_of(study: Study, arm: Arm) -> ModelChoice:
    """The model of one arm: the study's, or its own where it says so.

    Args:
        study: The study without a grid, its model's settings complete.
        arm: One of its arms.

    Returns:
        Name and all settings.
    """
    from regrow.lab import models  # noqa: PLC0415 # as above

    own = {key: value for key, value in arm.model.items() if key != "name"}
    name: str = arm.model.get("name", study.model.name)
    base = study.model.settings if name == study.model.name else models.defaults(name)
    return ModelChoice(name=name, settings=_filled(models.defaults(name), {**base, **own}))


def _filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults and what was given; 1 where a number like 1.0 is meant is that number, in the fingerprint too."""
    return {
        **defaults,
        **{
            key: float(value)
            if isinstance(defaults.get(key), float) and isinstance(value, int)
            else value
            for key, value in given.items()
        },
    }


def _check_recipe(name: str, *, where: str) -> None:
    """Find a recipe by its name; a user's is imported."""
    from regrow import recipes  # noqa: PLC0415 # as above

    if name in LAB_RECIPES:
        return
    try:
        recipes.info(name)
    except UnknownNameError:
        known = [*LAB_RECIPES, *recipes.names(), FORM]
        raise UnknownNameError("recipe", name, known, where=where) from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _completed(study: Study, label: str, arm: Arm, *, where: str) -> Arm:
    """The arm with its recipe's defaults written out and, for a control, its partner found."""
    from regrow import recipes  # noqa: PLC0415 # imports torch, which reading a study's records must not

    place, _, path = where.rpartition(": ")
    check_training({**study.train.model_dump(), **arm.train}, where=place, path=f"{path}.train")
    control = arm.recipe not in LAB_RECIPES and recipes.info(arm.recipe).control
    if arm.like is not None and not control:
        raise ConfigError(f"{where}.like: is for controls, and recipe '{arm.recipe}' is none")
    if arm.recipe in LAB_RECIPES:
        return arm.model_copy(update={"settings": _lab_settings(study, arm, where=where)})
    defaults = recipes.settings(arm.recipe)
    if not control:
        recipes.build(arm.recipe, arm.settings, where=f"{where}.settings")
        return arm.model_copy(update={"settings": _filled(defaults, arm.settings)})
    like = _partner(study, label, arm, where=where)
    partner = study.arms[like]
    shared = {key: value for key, value in partner.settings.items() if key in defaults}
    recipes.build(arm.recipe, {**shared, **arm.settings}, like=[], where=f"{where}.settings")
    return arm.model_copy(
        update={
            "settings": _filled(defaults, {**shared, **arm.settings}),
            "train": {**partner.train, **arm.train},
            "like": like,
            "model": arm.model or partner.model,
            "teachers": arm.teachers or partner.teachers,
            "teacher_digests": arm.teacher_digests or partner.teacher_digests,
            "distillation": arm.distillation or partner.distillation,
        }
    )


def _modelled(study: Study, arm: Arm, *, where: str) -> Arm:
    """The arm with its own model's settings checked, and numbers as the model takes them."""
    from regrow.lab import models  # noqa: PLC0415 # as above

    name: object = arm.model.get("name", study.model.name)
    if not isinstance(name, str):
        raise ConfigError(f"{where}.model.name: must be a text, got {name!r}")
    try:
        models.defaults(name)
        full = model_of(study, arm)
        models.check(name, full.settings)
    except (ConfigError, UnknownNameError) as error:
        raise ConfigError(f"{where}.model: {error}") from error
    own = {key: name if key == "name" else full.settings[key] for key in arm.model}
    return arm.model_copy(update={"model": own})


def _renews(info: RecipeInfo) -> bool:
    """Whether a recipe renews filters, so that a control can replay it."""
    return not info.control and not info.partners


def _partner(study: Study, label: str, arm: Arm, *, where: str) -> str:
    """The label of the arm that a control replays."""
    from regrow import recipes  # noqa: PLC0415

    tested = [
        other
        for other, candidate in study.arms.items()
        if candidate.recipe not in LAB_RECIPES and _renews(recipes.info(candidate.recipe))
    ]
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


def _lab_settings(study: Study, arm: Arm, *, where: str) -> dict[str, Any]:
    """Defaults and what was given, for the arms that the laboratory runs without a recipe."""
    known = LAB_SETTINGS[arm.recipe]
    place = f"{where}.settings"
    if not known and arm.settings:
        raise ConfigError(f"{place}: 'none' has no settings, got {', '.join(arm.settings)}")
    for key, value in arm.settings.items():
        if key not in known:
            raise UnknownNameError(f"setting of recipe '{arm.recipe}'", key, known, where=place)
        least = LEAST[key]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole and value >= least) and not (value is None and known[key] is None):
            raise ConfigError(f"{place}.{key}: must be a whole number from {least}, got {value!r}")
    found: dict[str, Any] = {**known, **arm.settings}
    if arm.recipe == "restart" and found["check_epochs"] is None:
        epochs = arm.train.get("epochs", study.train.epochs)
        found["check_epochs"] = max(1, round(0.1 * epochs))
    return found
