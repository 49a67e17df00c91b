"""What a study may name: data sets, models and recipes, as far as a study must know them to be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from regrow.compose import RecipeInfo

Role = Literal["method", "control", "plain", "restart", "apart"]
"""What an arm is for: a ``method`` under test, a ``control`` that replays one, ``plain`` training, whole ``restart``s,
or several networks ``apart``."""


class Shelf(Protocol):
    """Things with a name and settings: the data sets, the models."""

    def check(self, name: str, settings: Mapping[str, Any]) -> None:
        """Refuse an unknown name, an unknown setting, or a value that does not fit."""
        ...

    def defaults(self, name: str) -> Mapping[str, Any]:
        """All settings of one of them."""
        ...


class Models(Shelf, Protocol):
    """The models."""

    def distinguishing(self, name: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings that results are filed under: without later ones that change nothing."""
        ...


class Recipes(Protocol):
    """The recipes, those of the laboratory included."""

    def names(self) -> list[str]:
        """All names."""
        ...

    def info(self, name: str) -> RecipeInfo:
        """How one is compared."""
        ...

    def settings(self, name: str) -> Mapping[str, Any]:
        """All settings of one with their defaults."""
        ...

    def complete(
        self, name: str, given: Mapping[str, Any], *, epochs: int, where: str
    ) -> dict[str, Any]:
        """All settings written out; a mistake in what was given is one line."""
        ...


@dataclass(frozen=True, kw_only=True)
class Known:
    """All of it."""

    data: Shelf
    models: Models
    recipes: Recipes


def filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
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
