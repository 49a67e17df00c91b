"""The recipes by name: built from plain settings, with one clear line for each mistake.

Filled as the files beside it are imported; study files, the command line and trainers' settings are looked up here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

from regrow._named import FORM, names_function
from regrow._renamed import renamed
from regrow.compose import BY_WITH_PARTS, OLD_SETTINGS, Recipe, RecipeInfo
from regrow.errors import ConfigError, UnknownNameError
from regrow.history import Renewed
from regrow.neutral import OF
from regrow.partnership import PartnerRecipe
from regrow.recipes._own import own_recipe

Made = TypeVar("Made", bound=Recipe)


@dataclass(frozen=True)
class _Entry:
    info: RecipeInfo
    make: Callable[..., Recipe | PartnerRecipe]

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Every setting that a study file may give: its default, and its type. Found once, for grids ask often."""
        found = inspect.signature(self.make, eval_str=True).parameters
        return {name: parameter for name, parameter in found.items() if name != "like"}

    @property
    def settings(self) -> dict[str, object]:
        """Name and default of every setting."""
        return {name: parameter.default for name, parameter in self.parameters.items()}


_ENTRIES: dict[str, _Entry] = {}
_OWN: dict[str, _Entry] = {}
"""Users' functions, by the names that they are called by; they are not listed."""

MakeControl = Callable[[Recipe, Sequence[Renewed]], Recipe]

_CONTROLS: dict[str, MakeControl] = {}
"""Controls that are made of the recipe that they control, by name."""

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
}


def register(info: RecipeInfo, make: Callable[..., Recipe | PartnerRecipe]) -> None:
    """Add a recipe to the registry.

    Args:
        info: What it is. ``info.name`` is its name in study files.
        make: Keyword arguments with defaults to a Recipe, or to a PartnerRecipe for several networks. A control takes
            ``like`` besides: the events of another run.

    Raises:
        ConfigError: The name is taken.
    """
    if info.name in _ENTRIES:
        raise ConfigError(f"a recipe named '{info.name}' is registered already")
    _ENTRIES[info.name] = _Entry(info, make)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def published(kind: type[Made]) -> type[Made]:
    """Make a class of settings a recipe of regrow: a frozen dataclass that is listed, and that tells old names."""
    made = renamed(BY_WITH_PARTS)(dataclass(frozen=True, kw_only=True, repr=False)(kind))
    register(made.info, made)
    return made


def register_control(name: str, make: MakeControl, *, info: RecipeInfo | None = None) -> None:
    """Add a control that is made of the recipe that it controls: its setting ``of`` names that one.

    Args:
        name: Its name in study files.
        make: From that recipe, and the events of its run.
        info: What it is; None: a recipe of this name is registered, and has settings of its own besides.
    """

    def nothing(*, of: str = "") -> Recipe:
        raise ConfigError(f"of must name the recipe that '{name}' is a control of, got {of!r}")

    if info is not None:
        register(info, nothing)
    _CONTROLS[name] = make


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(_ENTRIES)


def _entry(name: str, where: str = "") -> _Entry:
    if name in _ENTRIES:
        return _ENTRIES[name]
    if not names_function(name):
        raise UnknownNameError("recipe", name, [*_ENTRIES, FORM], where=where)
    if name not in _OWN:
        _OWN[name] = _Entry(*own_recipe(name))
    return _OWN[name]


def info(name: str) -> RecipeInfo:
    """What a recipe is: of its name, or of ``package.module:function``, which is imported."""
    return _entry(name).info


def settings(name: str) -> dict[str, object]:
    """The settings of a recipe and their defaults."""
    return _entry(name).settings


def build(
    name: str,
    given: Mapping[str, object],
    *,
    like: Sequence[Renewed] | None = None,
    where: str = "",
) -> Recipe | PartnerRecipe:
    """Make a recipe from plain settings, as they stand in a study file.

    Args:
        name: The recipe's name, or ``package.module:function``.
        given: Settings by name; those left out have their defaults.
        like: For a control, the events of the run that it is a control of.
        where: Place of the settings, for messages.

    Returns:
        The recipe.

    Raises:
        UnknownNameError: The recipe or a setting is not known.
        ConfigError: A setting has the wrong type or is out of range, or a control lacks `like`.
    """
    entry = _entry(name, where)
    if given.get(OF) and name in _CONTROLS:
        return _control(name, given, like=like, where=where)
    place = f"{where}: " if where else ""
    parameters = entry.parameters
    for key, value in given.items():
        if key in OLD_SETTINGS and key not in parameters:
            raise ConfigError(f"{place}{key} is now {OLD_SETTINGS[key]}")
        if key not in parameters:
            raise UnknownNameError(f"setting of recipe '{name}'", key, parameters, where=where)
        if not _fits(value, parameters[key].annotation):
            default = parameters[key].default
            like_what = (
                _words(parameters[key].annotation) if default is None else f"like {default!r}"
            )
            raise ConfigError(f"{place}{key} must be {like_what}, got {value!r}")
    extra: dict[str, object] = {}
    if entry.info.control:
        if like is None:
            raise ConfigError(
                f"{place}recipe '{name}' is a control and needs the events of the run that it is like"
            )
        extra["like"] = like
    try:
        return entry.make(**given, **extra)
    except ConfigError as error:
        raise ConfigError(f"{place}{error}") from error


def _control(
    name: str, given: Mapping[str, object], *, like: Sequence[Renewed] | None, where: str
) -> Recipe:
    """A control, made of the recipe that it controls."""
    own = {key: value for key, value in given.items() if key != OF}
    of, place = str(given[OF]), f"{where}: " if where else ""
    tested = _entry(of, where).info
    chooses = tested.role == "method" and not tested.partners and tested.family != "network"
    recipe = build(of, own, where=where) if chooses else None
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"{place}of must name a recipe that renews filters, got '{of}'")
    if info(name).control and like is None:
        raise ConfigError(
            f"{place}recipe '{name}' is a control and needs the events of the run that it is like"
        )
    return _CONTROLS[name](recipe, like or ())


def _fits(value: object, annotation: Any) -> bool:
    """Whether a value may stand for a setting: a TOML file knows strings, numbers and booleans."""
    if get_origin(annotation) in {Union, UnionType}:
        return any(_fits(value, part) for part in get_args(annotation))
    if get_origin(annotation) is Literal:  # which of them, the recipe's parts say better
        return isinstance(value, str)
    if annotation in {None, NoneType}:
        return value is None
    if annotation is inspect.Parameter.empty or not isinstance(annotation, type):
        return True  # a user's: what it says, if anything, the function checks
    if isinstance(value, bool):
        return annotation is bool
    return isinstance(value, int | float if annotation is float else annotation)


def _words(annotation: Any) -> str:
    """The type of a setting that may be left out, for people."""
    return " or ".join(
        _WORDS.get(part, str(part)) for part in get_args(annotation) if part is not NoneType
    )
