"""Study files and the command line's overrides: read, merged and checked before anything runs.

Called by `cli/run`; `lab/plan` goes on from the document that it gives.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from regrow.errors import ConfigError, RegrowError
from regrow.lab import arm_recipes
from regrow.lab.plan import plan
from regrow.study.document import Study, check_document
from regrow.study.keys import parse_setting, set_key
from regrow.study.trials import Plan

DEFAULT_RECIPES: Final = ("none", "randomout", "random")
"""The arms when nothing is said: plain training, the recipe, and its control."""


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the command line says on top of a study file, or in place of one."""

    name: str | None = None  # name of the study
    data: str | None = None  # name of the data set; its settings start from their defaults
    model: str | None = None  # name of the model; its settings start from their defaults
    # Arms by label or by recipe. With a study file, the arms to keep or to add.
    recipes: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()  # ``key=value`` texts, as `set_key` reads keys
    seeds: int | None = None  # number of seeds
    # Training settings by name; None = not given.
    train: Mapping[str, object] = field(default_factory=dict[str, object])
    partners: int | None = None  # networks of a trial, for every arm that trains several


def load_study(path: Path | None, overrides: Overrides | None = None) -> Study:
    """Read a study and check all of it, as `load_plan` does."""
    return load_plan(path, overrides).study


def load_plan(path: Path | None, overrides: Overrides | None = None) -> Plan:
    """Read a study, check all of it, and plan it: every key, name and range is right, every recipe was built once.

    Without a file the command line describes it alone; a data set alone is a study, for all else has defaults. The data
    and the model are tried by `preflight`.
    """
    told = overrides or Overrides()
    where = str(path) if path is not None else "command line"
    found = _read(path) if path is not None else {}
    if path is None and told.data is None:
        raise ConfigError("command line: give a study file, or --data with the name of a data set")
    _merge(found, told, where=where)
    planned = plan(check_document(found, where=where), where=where)
    _ = planned.cells  # all that can be wrong is said here
    return planned


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such study file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read as a study file: {error}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise ConfigError(
            f"{path}: is UTF-16 text, and a study file must be UTF-8: save it as that"
        )
    try:
        # Some editors put a byte order mark in front, which TOML does not know.
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be UTF-8 text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no valid TOML: {error}") from error


def _merge(found: dict[str, Any], told: Overrides, *, where: str) -> None:
    """Lay the command line over the file, in place."""
    for part, name in (("data", told.data), ("model", told.model)):
        if name is not None:
            found[part] = {"name": name}
    if told.seeds is not None:
        found["seeds"] = told.seeds
    for key in ("data", "model", "train", "diagnostics", "arms"):
        if not isinstance(found.setdefault(key, {}), dict):
            raise ConfigError(f"{where}: {key}: must be a table, got {found[key]!r}")
    wanted = told.recipes or (() if found["arms"] else DEFAULT_RECIPES)
    if wanted:
        found["arms"] = _chosen(found["arms"], wanted)
    found["train"].update({key: value for key, value in told.train.items() if value is not None})
    if told.partners is not None:
        _set_partners(found["arms"], told.partners)
    for text in told.settings:
        key, value = parse_setting(text, where="command line: --set")
        set_key(found, key, value, where=f"command line: --set {text}")
    if told.name is not None:
        found["name"] = told.name
    found.setdefault("name", _default_name(found))


def _chosen(arms: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    """The arms of ``--recipe``: the file's by their labels, others by their recipe, a user's function by its name."""
    chosen: dict[str, Any] = {}
    for name in wanted:
        own = ":" in name
        label = name.partition(":")[2].lstrip("_") if own else name
        arm: Any = arms.get(label, {"recipe": name})
        if label in chosen:
            more = f" as arm {label}; a study file gives arms labels of their own" if own else ""
            raise ConfigError(f"command line: --recipe {name} is there twice{more}")
        if own and not (isinstance(arm, dict) and arm.get("recipe") == name):
            raise ConfigError(
                f"command line: --recipe {name}: the study's arm {label} has another recipe; give this one an arm of "
                "its own in the study file"
            )
        chosen[label] = arm
    return chosen


def _set_partners(arms: Mapping[str, Any], partners: int) -> None:
    """Set how many networks a trial trains, in place, for every arm that trains several; --set comes after it."""
    asked: list[dict[str, Any]] = [arm for arm in arms.values() if isinstance(arm, dict)]
    several = [arm for arm in asked if "partners" in _settings_of(arm.get("recipe"))]
    if not several:
        raise ConfigError(
            f"command line: --partners: needs an arm that trains several networks (recipe grafting or independent), "
            f"and the arms are {', '.join(arms)}"
        )
    for arm in several:
        arm["settings"] = {**(arm.get("settings") or {}), "partners": partners}


def _settings_of(recipe: object) -> Mapping[str, object]:
    """The settings that a recipe takes; none of a name that is not known, which is told later."""
    if not isinstance(recipe, str):
        return {}
    try:
        return arm_recipes.settings(recipe)
    except RegrowError:
        return {}


def _default_name(found: Mapping[str, Any]) -> str:
    """A folder's name from the data set and the tested recipes."""
    data = str(found["data"].get("name", "digits"))
    others = {*arm_recipes.OWN, "random", "inverted", "never"}
    tested = [label for label in found["arms"] if label not in others]
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", part).strip("-") for part in [data, *tested[:1]])
