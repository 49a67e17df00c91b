"""The recipes by name: built from plain settings, with one clear line for each mistake."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from regrow.compose import Recipe, RecipeInfo
from regrow.errors import ConfigError, UnknownNameError
from regrow.history import Renewed


@dataclass(frozen=True)
class _Entry:
    info: RecipeInfo
    make: Callable[..., Recipe]

    @property
    def settings(self) -> dict[str, object]:
        """Name and default of every setting that a study file may give."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.make).parameters.items()
            if name != "like"
        }


_ENTRIES: dict[str, _Entry] = {}


def register(info: RecipeInfo, make: Callable[..., Recipe]) -> None:
    """Add a recipe to the registry.

    Args:
        info: What it is. ``info.name`` is its name in study files.
        make: Keyword arguments with defaults to a Recipe. A control takes ``like`` besides: the
            events of another run.

    Raises:
        ConfigError: The name is taken.
    """
    if info.name in _ENTRIES:
        raise ConfigError(f"a recipe named '{info.name}' is registered already")
    _ENTRIES[info.name] = _Entry(info, make)


def names() -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(_ENTRIES)


def _entry(name: str, where: str = "") -> _Entry:
    if name not in _ENTRIES:
        raise UnknownNameError("recipe", name, _ENTRIES, where=where)
    return _ENTRIES[name]


def info(name: str) -> RecipeInfo:
    """What a recipe is.

    Args:
        name: Its name.

    Returns:
        Title, source, differences.
    """
    return _entry(name).info


def settings(name: str) -> dict[str, object]:
    """The settings of a recipe and their defaults.

    Args:
        name: Its name.

    Returns:
        Defaults by name of the setting.

    Examples:
        >>> settings("randomout")["threshold"]
        1e-08
    """
    return _entry(name).settings


def build(
    name: str,
    given: Mapping[str, object],
    *,
    like: Sequence[Renewed] | None = None,
    where: str = "",
) -> Recipe:
    """Make a recipe from plain settings, as they stand in a study file.

    Args:
        name: The recipe's name.
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
    place = f"{where}: " if where else ""
    for key, value in given.items():
        if key not in entry.settings:
            raise UnknownNameError(f"setting of recipe '{name}'", key, entry.settings, where=where)
        _check_type(key, value, entry.settings[key], place=place)
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


def _check_type(key: str, value: object, default: object, *, place: str) -> None:
    """Refuse a value whose type cannot stand for the default's: a TOML file knows strings, numbers and booleans."""
    if value is None or default is None:
        fits = value is None or isinstance(value, int | float | str)
    elif isinstance(default, bool) or isinstance(value, bool):
        fits = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        fits = isinstance(value, int | float)
    else:
        fits = isinstance(value, type(default))
    if not fits:
        raise ConfigError(f"{place}{key} must be like {default!r}, got {value!r}")
