"""Results folders as the laboratory's own store writes them, of studies that are planned as any other."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from regrow.lab.plan import plan
from regrow.study.document import check_document
from regrow.study.records import ArmRecord
from regrow.study.store import Store
from regrow.study.trials import Plan


def planned(*, arms: Mapping[str, Mapping[str, object]], **asked: Any) -> Plan:
    """A study; `asked` are parts of its file beside the arms."""
    base = {"name": "s", "data": {"name": "digits"}, "arms": {k: dict(v) for k, v in arms.items()}}
    return plan(check_document({**base, **asked}, where="test"))


def related(
    arms: Mapping[str, Mapping[str, object]], grid: Mapping[str, list[object]] | None = None
) -> dict[str, dict[str, ArmRecord]]:
    """How arms stand to each other, by cell and label."""
    found: dict[str, dict[str, ArmRecord]] = {}
    asked = planned(
        arms=arms, grid=grid or {}, train={"lr": 0.1, "epochs": 10}, model={"name": "convnet"}
    )
    for arm in asked.arms:
        found.setdefault(arm.cell, {})[arm.label] = arm
    return found


def neutral(arms: Mapping[str, ArmRecord]) -> dict[str, str]:
    """Arms by label to their neutral controls."""
    return {label: arm.neutral_control for label, arm in arms.items() if arm.neutral_control}


def apart(arms: Mapping[str, ArmRecord]) -> dict[str, str]:
    """Arms by label to those that train as many networks apart."""
    return {label: arm.apart_control for label, arm in arms.items() if arm.apart_control}


def opened(
    folder: Path,
    *,
    arms: Mapping[str, Mapping[str, object]],
    environment: Mapping[str, object] | None = None,
    fingerprint_document: Mapping[str, object] | None = None,
    **asked: Any,
) -> Store:
    """The store of a study; `asked` are parts of its file beside the arms."""
    base = {
        "name": folder.name,
        "data": {"name": "digits"},
        "arms": {k: dict(v) for k, v in arms.items()},
    }
    planned = plan(check_document({**base, **asked}, where="test"))
    return Store(
        folder,
        document=planned.document,
        fingerprint_document=fingerprint_document or {},
        environment=environment or {},
        arms=planned.arms,
    )


def relabelled(folder: Path, *, arms: Mapping[str, str], cells: Mapping[str, str]) -> Path:
    """A closed folder with labels and cells that no study file may have: somebody has edited it."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as database, database:
        for old, new in arms.items():
            database.execute("UPDATE arms SET label = ? WHERE label = ?", (new, old))
            database.execute("UPDATE trials SET arm = ? WHERE arm = ?", (new, old))
        for old, new in cells.items():
            for table in ("arms", "trials"):
                database.execute(f"UPDATE {table} SET cell = ? WHERE cell = ?", (new, old))  # noqa: S608
    return folder
