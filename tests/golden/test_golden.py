"""What is filed and reported of studies stays what it was, to the letter.

The databases were trained once with ``regrow run tests/golden/studies/NAME.toml --engine modules``; nothing is trained
here. They are of schema version 3. ``python -m golden.write`` in tests/ writes the expected files anew.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from golden.documents import HERE, STORED, STUDIES, fingerprints, summary, told

EXPECTED = json.loads((HERE / "fingerprints.json").read_text(encoding="utf-8"))


def test_every_study_has_its_golden_file() -> None:
    assert set(EXPECTED) <= {path.name for path in STUDIES.glob("*.toml")}
    assert len(EXPECTED) >= 24


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_fingerprints_stay(name: str) -> None:
    assert fingerprints(STUDIES / name) == EXPECTED[name]


@pytest.fixture
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy: reading must not touch the file under test."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copyfile(HERE / "stored" / f"{request.param}.sqlite", folder / "results.sqlite")
    return folder


@pytest.mark.parametrize(("stored", "name"), [(name, name) for name in STORED], indirect=["stored"])
def test_summaries_and_tables_stay(stored: Path, name: str) -> None:
    expected = json.loads((HERE / "expected" / f"{name}.json").read_text(encoding="utf-8"))
    assert summary(stored) == expected
    assert told(stored) == (HERE / "expected" / f"{name}.md").read_text(encoding="utf-8")
