"""The table of docs/trainers.md: which test has passed for which trainer. Written where REGROW_TRAINERS_TABLE says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COLUMNS = (
    "one line",
    "renews",
    "equal before",
    "resume",
    "killed 5 times",
    "accumulation",
    "precision",
    "ranks",
    "copies",
)
_SEEN: dict[str, dict[str, set[str]]] = {}
_VERSIONS: dict[str, str] = {}


@pytest.fixture
def says(request: pytest.FixtureRequest) -> object:
    """Notes what a test has shown of a trainer: the last thing that it does, so that one that fails notes nothing."""

    def note(trainer: str, version: str, column: str, what: str = "yes") -> None:
        assert column in COLUMNS
        _VERSIONS[trainer] = version
        _SEEN.setdefault(trainer, {}).setdefault(column, set()).add(what)

    return note


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = os.environ.get("REGROW_TRAINERS_TABLE")
    if not path or not _SEEN or session.testsfailed:
        return
    lines = [
        "| " + " | ".join(("trainer", "version", *COLUMNS)) + " |",
        "|:--" * (2 + len(COLUMNS)) + "|",
    ]
    for trainer in sorted(_SEEN):
        cells = [", ".join(sorted(_SEEN[trainer].get(column, {"-"}))) for column in COLUMNS]
        lines.append("| " + " | ".join((trainer, _VERSIONS[trainer], *cells)) + " |")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n")
