"""What an arm may be: the registered recipes, and those that the laboratory runs by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from regrow import recipes
from regrow.compose import RecipeInfo
from regrow.errors import ConfigError
from regrow.lab.settings import Settings, read_settings, settings_of
from regrow.neutral import OF
from regrow.study.known import filled
from regrow.study.stream import AT_EACH_TASK

OWN: Final = {
    info.name: info
    for info in (
        RecipeInfo(
            name="none",
            title="Plain training",
            summary="Plain training: nothing is attached.",
            role="plain",
        ),
        RecipeInfo(
            name="independent",
            title="Networks apart",
            summary="Trains several networks apart (partners: 2), the control for recipes that join them. The trial's "
            "accuracy is their mean; their ensemble, their mean weights and the best of them are measured too.",
            role="apart",
            partners=True,
        ),
        RecipeInfo(
            name="restart",
            title="Whole restarts",
            summary="Redraws the whole network, with a fresh optimizer, while training is stuck at the majority class; "
            "looks after each check_epochs epochs (null: a tenth of them).",
            role="restart",
        ),
        RecipeInfo(
            name=AT_EACH_TASK,
            title="A fresh network for each task",
            summary="Begins each task of a stream with a fresh network and a fresh optimizer: what the stream's tasks "
            "are worth to a network that has lost nothing.",
            role="restart",
        ),
    )
}
"""Nothing is attached in these arms."""


class _Apart(Settings):
    """Of networks apart."""

    partners: int = Field(default=2, ge=2)


class _Restarts(Settings):
    """Of whole restarts; None: a tenth of the epochs, and as many as it takes."""

    check_epochs: int | None = Field(default=None, ge=1)
    max_restarts: int | None = Field(default=None, ge=0)


_SETTINGS: Final[Mapping[str, type[Settings]]] = {"independent": _Apart, "restart": _Restarts}
"""Of those that have any."""


def names() -> list[str]:
    """All names, the laboratory's own first."""
    return [*OWN, *recipes.names()]


def info(name: str) -> RecipeInfo:
    """What a recipe is, and how it is compared."""
    return OWN[name] if name in OWN else recipes.info(name)


def settings(name: str) -> Mapping[str, Any]:
    """All settings of a recipe with their defaults."""
    return settings_of(_SETTINGS.get(name, Settings)) if name in OWN else recipes.settings(name)


def complete(name: str, given: Mapping[str, Any], *, epochs: int, where: str) -> dict[str, Any]:
    """All settings of a recipe written out, and built once with them; `epochs` are those of its arm."""
    if name in OWN:
        return _own(name, given, epochs=epochs, where=where)
    recipes.build(name, given, like=[] if info(name).control else None, where=where)
    if given.get(OF):  # a control with the settings of the recipe that it is made of
        own = {key: value for key, value in given.items() if key != OF}
        return {OF: given[OF], **filled(recipes.settings(given[OF]), own)}
    return filled(recipes.settings(name), given)


def _own(name: str, given: Mapping[str, Any], *, epochs: int, where: str) -> dict[str, Any]:
    if given and name not in _SETTINGS:
        raise ConfigError(f"{where}: '{name}' has no settings, got {', '.join(given)}")
    kind = _SETTINGS.get(name, Settings)
    found = read_settings(kind, given, where=where).model_dump()
    if found.get("check_epochs", epochs) is None:
        found["check_epochs"] = max(1, round(0.1 * epochs))
    return found
