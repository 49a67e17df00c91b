"""`regrow ls`: what there is to choose from, and what has been run.

Called by `cli/main`. Cards of recipes are read without torch; runs are read by `report/read`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from regrow.cli.exits import BAD_USE, show, told_as
from regrow.errors import ConfigError, StoreError, UnknownNameError


class Kind(StrEnum):
    """What can be listed."""

    RECIPES = "recipes"
    MODELS = "models"
    DATA = "data"
    RUNS = "runs"


def ls(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The only one to show; of runs: the folder to look in."
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recipes, models and data sets with their settings, or the runs in a folder."""
    with told_as(BAD_USE):
        listed = {
            Kind.RECIPES: _recipes,
            Kind.MODELS: _models,
            Kind.DATA: _data,
            Kind.RUNS: lambda: _runs(Path(which or "runs")),
        }[kind]()
        if which is not None and kind is not Kind.RUNS:
            known = [entry["name"] for entry in listed]
            if which not in known:
                raise UnknownNameError(f"{kind}".removesuffix("s"), which, known)
            listed = [listed[known.index(which)]]
    if as_json:
        show(json.dumps(listed, indent=2))
        return
    if kind is Kind.RECIPES and which is None:
        show("\n\n".join(_by_family(listed)))
        return
    show("\n\n".join(_paragraph(entry) for entry in listed) or f"no {kind}")


def _by_family(listed: list[dict[str, Any]]) -> Iterator[str]:
    """Recipes side by side that one would choose between, what compares them first."""
    for family in dict.fromkeys(entry["family"] for entry in listed):
        yield f"[{family}]"
        yield from (_paragraph(entry) for entry in listed if entry["family"] == family)


def _paragraph(entry: dict[str, Any]) -> str:
    """One entry for people: its name, what it is, its settings, where it departs from its source."""
    lines = [f"{entry['name']}: {entry['summary']}"]
    if entry.get("paper"):
        lines.append(f"  {entry['title']}. {entry['paper']}. {entry['url']}".rstrip())
    if entry.get("settings"):
        words = ", ".join(f"{key}={_toml(value)}" for key, value in entry["settings"].items())
        lines.append(f"  settings: {words}")
    if entry.get("several"):
        lines.append("  trains several networks side by side: --partners says how many")
    lines += [f"  {number}. {text}" for number, text in enumerate(entry.get("differs", ()), 1)]
    return "\n".join(lines)


def _toml(value: object) -> str:
    """A default as --set would take it."""
    return value if isinstance(value, str) else json.dumps(value)


def _recipes() -> list[dict[str, Any]]:
    from regrow.lab import arm_recipes

    listed: list[dict[str, Any]] = []
    for name in arm_recipes.names():
        info = arm_recipes.info(name)
        entry: dict[str, Any] = {
            "name": name,
            "summary": info.summary,
            "family": info.family or ("others" if info.role == "method" else "controls"),
            "settings": dict(arm_recipes.settings(name)),
            "several": info.partners,
        }
        if name not in arm_recipes.OWN:
            entry |= {
                "title": info.title,
                "paper": "" if info.control else info.paper,
                "year": info.year,
                "url": info.url,
                "control": info.control,
                "differs": list(info.differs),
            }
        listed.append(entry)
    return listed


def _models() -> list[dict[str, Any]]:
    from regrow.lab.models import registry as models

    listed: list[dict[str, Any]] = [
        {"name": name, "summary": models.summary(name), "settings": models.defaults(name)}
        for name in models.names()
    ]
    own = "your own network; called with in_channels, image_size, classes and its settings"
    return [*listed, {"name": "package.module:function", "summary": own, "settings": {}}]


def _data() -> list[dict[str, Any]]:
    from regrow.lab import data

    return [
        {"name": name, "summary": data.summary(name), "settings": data.defaults(name)}
        for name in data.names()
    ]


def _runs(folder: Path) -> list[dict[str, Any]]:
    """The results folders below a folder, the latest first."""
    from regrow.report.read import read_results
    from regrow.study.store import DATABASE

    if not folder.is_dir():
        raise ConfigError(f"{folder}: must be a folder with runs, and is none")
    files = sorted(
        folder.glob(f"**/{DATABASE}"), key=lambda file: file.stat().st_mtime, reverse=True
    )
    listed: list[dict[str, Any]] = []
    for file in files:
        try:
            results = read_results(file.parent)
        except StoreError as error:
            listed.append({"name": str(file.parent), "summary": f"cannot be read: {error}"})
            continue
        labels = [arm.label for arm in results.study.arms]
        seeds, ended, expected = len(results.study.seeds), len(results.trials), results.study.trials
        listed.append(
            {
                "name": str(file.parent),
                "study": results.study.name,
                "arms": labels,
                "seeds": seeds,
                "ended": ended,
                "expected": expected,
                "summary": f"{results.study.name}; {', '.join(labels)}; {seeds} seeds; "
                f"{ended} of {expected} trials ended",
            }
        )
    return listed
