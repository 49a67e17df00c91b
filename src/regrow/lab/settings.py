"""Settings that a user wrote, read into a frozen dataclass, with one clear line for each mistake."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from regrow.errors import ConfigError, UnknownNameError

Config = TypeVar("Config")

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _allowed_types(annotation: object) -> tuple[type, ...]:
    """The plain types of ``int``, ``int | None``, ...; ``None`` counts as a type."""
    if isinstance(annotation, types.UnionType):
        return tuple(typing.get_args(annotation))
    return (typing.cast("type", annotation),)


def _converted(value: object, allowed: tuple[type, ...], *, key: str, where: str) -> object:
    """`value` as one of the allowed types; a whole number serves as a number, true never as 1."""
    for kind in allowed:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
    words = " or ".join(_WORDS[kind] for kind in allowed if kind in _WORDS)
    raise ConfigError(f"{key} must be {words}, got {value!r} ({where})")


def read_settings(kind: type[Config], settings: Mapping[str, object], *, where: str) -> Config:
    """Fill a settings dataclass from a mapping: known keys, right types, then the class's own range checks.

    Nothing is converted but a whole number where a number is expected, so that ``"8"`` or ``true``
    in place of 8 is a mistake that is told, never one that is mended.

    Args:
        kind: A frozen dataclass whose fields are bool, int, float or str, or one of them or None;
            all with defaults. It checks ranges in ``__post_init__`` and raises ConfigError there.
        settings: What the user wrote. Keys are field names.
        where: Whose settings these are, for messages.

    Returns:
        An instance of `kind`.

    Raises:
        ConfigError: A range check of `kind` failed, or a value has the wrong type.
        UnknownNameError: A key is not among the fields.

    Examples:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Net:
        ...     width: int = 8
        >>> read_settings(Net, {"width": 16}, where="model net")
        Net(width=16)
        >>> read_settings(Net, {"wdth": 16}, where="model net")
        Traceback (most recent call last):
        regrow.errors.UnknownNameError: model net: unknown setting 'wdth' (did you mean 'width'?); known: width
    """
    annotations = typing.get_type_hints(kind)
    names = settings_of(kind)
    values: dict[str, object] = {}
    for key, value in settings.items():
        if key not in names:
            raise UnknownNameError("setting", key, names, where=where)
        values[key] = _converted(value, _allowed_types(annotations[key]), key=key, where=where)
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{error} ({where})") from None


def settings_of(kind: type[object]) -> dict[str, object]:
    """The settings of a dataclass and their defaults.

    Args:
        kind: A dataclass all of whose fields have a default.

    Returns:
        Field name to default, in the order of declaration.
    """
    fields = dataclasses.fields(typing.cast("type[Any]", kind))
    return {field.name: field.default for field in fields}


def check_at_least(value: int, minimum: int, *, name: str) -> None:
    """Refuse a number below its minimum, in a settings class.

    Args:
        value: The number.
        minimum: The smallest number allowed.
        name: The setting.

    Raises:
        ConfigError: `value` is below `minimum`.
    """
    if value < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, got {value}")


def check_choice(value: object, choices: tuple[object, ...], *, name: str) -> None:
    """Refuse a value that is not one of a few, in a settings class.

    Args:
        value: What came.
        choices: What is allowed.
        name: The setting.

    Raises:
        ConfigError: `value` is not among `choices`.
    """
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ConfigError(f"{name} must be one of {known}, got {value!r}")
