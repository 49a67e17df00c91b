"""As much of the slow tests as fits into a time, those first that the last changes can have touched.

    python tools/slow_part.py --minutes 12 [--jobs 2]

It is a plugin of pytest too: a test that would begin after the time is left out, and at the end each file is named of
which something was left out. Only a test that fails makes it fail.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
UNTIL = "REGROW_SLOW_TESTS_UNTIL"
LATE = "the time for slow tests is used up"


def changed() -> list[str] | None:
    """Files that differ from the main branch, or from some commits ago; None where git cannot say."""
    for base in (_merge_base(), "HEAD~20", "HEAD~5", "HEAD~1"):
        found = _git("diff", "--name-only", base, "HEAD") if base else None
        if found is not None:
            return found.splitlines()
    return None


def _merge_base() -> str | None:
    found = _git("merge-base", "origin/main", "HEAD")
    return (
        found.strip()
        if found and found.strip() != (_git("rev-parse", "HEAD") or "").strip()
        else None
    )


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *words],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def rank(test: str, files: list[str]) -> int:
    """0 where the test or what lies beside it was changed, 1 where its subject was, 2 for the contract, 3 else."""
    path = PurePosixPath(test)
    if any(PurePosixPath(file).parent == path.parent and file.endswith(".py") for file in files):
        return 0
    subject = (
        path.parts[1].removeprefix("test_").removesuffix(".py")
    )  # tests/loop/..., tests/test_schedule.py
    sources = [PurePosixPath(file).parts for file in files if file.startswith("src/regrow/")]
    if any(parts[2].removesuffix(".py") == subject for parts in sources):
        return 1
    return 2 if subject == "contract" and sources else 3


def ordered(tests: list[str], files: list[str]) -> list[str]:
    """The test files, those first that can have been touched."""
    return sorted(tests, key=lambda test: (rank(test, files), test))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin no test after the time."""
    del item
    if time.time() > float(os.environ.get(UNTIL, "inf")):
        pytest.skip(LATE)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which files were run, and of which something was left out."""
    ran, late = Counter[str](), Counter[str]()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            name = getattr(report, "nodeid", "").partition("::")[0]
            if outcome == "skipped" and LATE in str(report.longrepr):
                late[name] += 1
            elif getattr(report, "when", "") == "call":
                ran[name] += 1
    terminalreporter.section("slow tests")
    for name in sorted(ran | late):
        left = f", {late[name]} left out for want of time" if late[name] else ""
        terminalreporter.write_line(f"{name}: {ran[name]} run{left}")


def main() -> int:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--jobs", default="2")
    given = parser.parse_args()
    if given.minutes < 1:
        sys.stdout.write("No time is left for slow tests.\n")
        return 0
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    files = changed()
    if files is None:
        sys.stdout.write("git does not say what was changed: by name.\n")
    here = str(Path(__file__).parent)
    environment = {
        **os.environ,
        UNTIL: str(time.time() + 60 * given.minutes),
        "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "slow_part", "-n", given.jobs]
    # Few tests at a time, or a worker would hold many of the later ones from the beginning.
    command += ["--maxschedchunk", "2", "-m", "slow and not gpu", *ordered(tests, files or [])]
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else code


if __name__ == "__main__":
    sys.exit(main())
