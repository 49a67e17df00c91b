"""Dotted keys into a study as plain data. No torch and no pydantic: the report reads grids with them, too."""

from __future__ import annotations

from typing import Any

from regrow.errors import ConfigError, UnknownNameError


def set_key(found: dict[str, Any], key: str, value: object, *, where: str) -> None:
    """Set one value of a study by its dotted key, in place.

    ``train.<key>``, ``diagnostics.<key>``, ``model.<setting>``, ``data.<setting>``, ``<arm>.<setting>``,
    ``<arm>.train.<key>``, ``<arm>.model.<setting>``, ``<arm>.distillation.<key>``; a leading ``arms.`` is allowed
    before a label.

    Args:
        found: The study as plain data.
        key: The key.
        value: The value.
        where: Place of the key, for messages.

    Raises:
        ConfigError: The key has no value part.
        UnknownNameError: The first part names nothing.
    """
    first, _, rest = key.removeprefix("arms.").partition(".")
    if not rest:
        raise ConfigError(f"{where}: must be like train.lr or randomout.threshold, got '{key}'")
    if first in {"train", "diagnostics"} and not key.startswith("arms."):
        found.setdefault(first, {})[rest] = value
    elif first in {"data", "model"} and not key.startswith("arms."):
        found.setdefault(first, {}).setdefault("settings", {})[rest] = value
    elif first in found.get("arms", {}):
        arm: dict[str, Any] = found["arms"][first]
        part, _, name = rest.partition(".")
        if part in {"train", "settings", "model", "distillation"} and name:
            arm[part] = {**(arm.get(part) or {}), name: value}
        else:
            arm.setdefault("settings", {})[rest] = value
    else:
        known = ["train", "model", "data", "diagnostics", *found.get("arms", {})]
        raise UnknownNameError("part of the study", first, known, where=where)
