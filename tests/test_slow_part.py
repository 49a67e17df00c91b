"""Which slow tests continuous integration begins with, and that it stops in time (tools/slow_part.py)."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[1] / "tools" / "slow_part.py"
TESTS = [
    "tests/test_schedule.py",
    "tests/contract/test_resume.py",
    "tests/graph/test_trace.py",
    "tests/lab/sharing/test_trouble.py",
    "tests/loop/test_attach.py",
]


@pytest.fixture
def part() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slow_part_of_tools", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ("src/regrow/loop/attach.py", "tests/loop/test_attach.py"),
        ("src/regrow/schedule.py", "tests/test_schedule.py"),
        ("src/regrow/lab/store.py", "tests/lab/sharing/test_trouble.py"),
        ("tests/graph/nets.py", "tests/graph/test_trace.py"),
        ("tests/loop/test_attach.py", "tests/loop/test_attach.py"),
        ("src/regrow/surgery/optimizers/asgd.py", "tests/contract/test_resume.py"),
    ],
)
def test_what_was_touched_comes_first(part: ModuleType, changed: str, first: str) -> None:
    found = part.ordered(TESTS, ["README.md", changed])
    assert found[0] == first
    assert sorted(found) == sorted(TESTS)


def test_without_a_word_of_git_it_is_by_name(part: ModuleType) -> None:
    assert part.ordered(TESTS, []) == sorted(TESTS)


def test_a_history_that_is_cut_off_fails_nothing(
    part: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        known = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *known, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(part, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert part.changed() is None  # no repository
    git("init")
    (tmp_path / "one.py").touch()
    git("add", ".")
    git("commit", "-m", "one")
    assert part.changed() is None  # nothing before
    (tmp_path / "two.py").touch()
    git("add", ".")
    git("commit", "-m", "two")
    assert part.changed() == ["two.py"]


def test_no_test_begins_after_the_time(
    part: ModuleType, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(part.UNTIL, raising=False)
    part.pytest_runtest_setup(request.node)
    monkeypatch.setenv(part.UNTIL, "0")
    with pytest.raises(pytest.skip.Exception, match=part.LATE):
        part.pytest_runtest_setup(request.node)
