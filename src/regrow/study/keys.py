"""Dotted keys into a study as plain data, and values as the command line has them. No torch and no pydantic here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from regrow.errors import ConfigError, UnknownNameError

MISSING: Final = object()
"""What stands where a study says nothing."""


def set_key(found: dict[str, Any], key: str, value: object, *, where: str) -> None:
    """Set one value of a study by its dotted key, in place.

    ``train.<key>``, ``stream.<key>``, ``diagnostics.<key>``, ``model.<setting>``, ``data.<setting>``,
    ``<arm>.<setting>``, ``<arm>.train.<key>``, ``<arm>.model.<setting>``, ``<arm>.data.scale``,
    ``<arm>.distillation.<key>``; a leading ``arms.`` is allowed before a label.
    """
    *parents, last = path_of(found, key, where=where)
    table = found
    for part in parents:
        inner: Any = table.get(part) or {}
        if not isinstance(inner, Mapping):
            raise ConfigError(f"{where}: {part} must be a table, got {inner!r}")
        table[part] = {**inner}
        table = table[part]
    table[last] = value


def path_of(found: Mapping[str, Any], key: str, *, where: str) -> tuple[str, ...]:
    """Where a dotted key leads in a study as plain data, whose arms tell labels from other words.

    Examples:
        >>> path_of({"arms": {"redo": {}}}, "redo.threshold", where="here")
        ('arms', 'redo', 'settings', 'threshold')
    """
    first, _, rest = key.removeprefix("arms.").partition(".")
    if not rest:
        raise ConfigError(f"{where}: must be like train.lr or randomout.threshold, got '{key}'")
    if first in {"train", "stream", "diagnostics"} and not key.startswith("arms."):
        return first, rest
    if first in {"data", "model"} and not key.startswith("arms."):
        return first, "settings", rest
    if first in found.get("arms", {}):
        part, _, name = rest.partition(".")
        if part in {"train", "settings", "model", "data", "distillation"} and name:
            return "arms", first, part, name
        return "arms", first, "settings", rest
    known = ["train", "model", "data", "stream", "diagnostics", *found.get("arms", {})]
    raise UnknownNameError("part of the study", first, known, where=where)


def value_at(found: Mapping[str, Any], path: Sequence[str]) -> object:
    """What stands at a place of a study; `MISSING` where nothing does."""
    value: Any = found
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return MISSING
        value = value[part]
    return value


def flat(found: Mapping[str, Any], *, within: str = "") -> dict[str, Any]:
    """Nested tables by dotted key.

    Examples:
        >>> flat({"train": {"lr": 0.03}, "seeds": [0, 1], "grid": {}})
        {'train.lr': 0.03, 'seeds': [0, 1], 'grid': {}}
    """
    values: dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, within=f"{within}{key}.")
        else:
            values[f"{within}{key}"] = value
    return values


def parse_value(text: str) -> object:
    """A value as it would stand in a TOML file; what is none there is a text.

    Examples:
        >>> parse_value("1e-8"), parse_value("true"), parse_value("East"), parse_value("null")
        (1e-08, True, 'East', None)
    """
    if text == "null":
        return None
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return value["value"] if len(value) == 1 else text


def parse_setting(text: str, *, where: str) -> tuple[str, object]:
    """Read a setting as the command line has it."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{where} must be KEY=VALUE, got '{text}'")
    return key.strip(), parse_value(value.strip())


def written(value: object) -> str:
    """Write a value as `parse_value` reads it.

    Examples:
        >>> [written(value) for value in (1e-8, True, None, "East", "1", [1, 2])]
        ['1e-08', 'true', 'null', 'East', '"1"', '[1, 2]']
    """
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
