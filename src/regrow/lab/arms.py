"""The arms of a study, completed: defaults written out, controls paired with what they replay, names checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.study import LAB_RECIPES, Arm, Study, check_training

RESTART_SETTINGS: Final[dict[str, int | None]] = {"check_epochs": None, "max_restarts": None}
"""Settings of the arm ``restart``; ``check_epochs`` None is a tenth of the epochs."""


def complete(study: Study, *, where: str) -> Study:
    """Write out every default of data, model and recipes, and check every name.

    A control takes over the settings and the training of the arm that it replays, as far as it has
    not its own.

    Args:
        study: The study without a grid.
        where: Its file, for messages.

    Returns:
        The study that says all.

    Raises:
        ConfigError: A setting is out of range, or a control's partner is not clear.
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
    arms: dict[str, Arm] = {}
    for label, arm in study.arms.items():
        arms[label] = _completed(study, label, arm, where=f"{where}: arms.{label}")
    return study.model_copy(update={"arms": arms, **parts})


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


def _completed(study: Study, label: str, arm: Arm, *, where: str) -> Arm:
    """The arm with its recipe's defaults written out and, for a control, its partner found."""
    from regrow import recipes  # noqa: PLC0415 # imports torch, which reading a study's records must not

    place, _, path = where.rpartition(": ")
    check_training({**study.train.model_dump(), **arm.train}, where=place, path=f"{path}.train")
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
