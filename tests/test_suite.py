"""What may turn the suite red: faults of regrow do; the clock and other people's warnings do not."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import pytest

from regrow.errors import NoEffectWarning

HERE = Path(__file__).parent
CLOCKS = {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "process_time"}
TELLS_A_TIME = {"zoo/rows.py"}
"""Where a clock is read for a column of a table, and nothing is decided."""


def _told(category: type[Warning], module: str) -> bool:
    """Whether a warning from there is only told; it is raised otherwise."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn_explicit("said in a test", category, "a.py", 1, module=module)
    return bool(seen)


@pytest.mark.parametrize("module", ["regrow", "regrow.loop.attach", "test_suite", "loop.test_amp"])
def test_a_warning_from_here_is_an_error(module: str) -> None:
    with pytest.raises(UserWarning):
        _told(UserWarning, module)
    with pytest.raises(DeprecationWarning):
        _told(DeprecationWarning, module)


@pytest.mark.parametrize("module", ["regrow_like", "torch.nn", "_pytest.pathlib", "__main__"])
def test_a_warning_from_elsewhere_fails_nothing(module: str) -> None:
    for category in (UserWarning, ResourceWarning, pytest.PytestUnraisableExceptionWarning):
        assert _told(category, module)
    with pytest.raises(NoEffectWarning):
        _told(NoEffectWarning, module)


def test_a_file_that_somebody_leaves_open_fails_nothing_wherever_it_is_collected() -> None:
    assert _told(ResourceWarning, "regrow.loop.attach")


def _clocks(tree: ast.AST) -> list[int]:
    """Lines that read a clock, or give a process a time to end in."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (
                isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "time"
                and node.func.attr in CLOCKS
            )
            or any(
                keyword.arg == "timeout"
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"run", "communicate", "wait", "join", "get"}
                for keyword in node.keywords
            )
        )
    ]


def test_no_test_reads_a_clock() -> None:
    """Speed is shown by the commands in benchmarks/; a busy machine must not fail a test."""
    bad = "import time\nbegan = time.perf_counter()\nprocess.communicate(timeout=3)"
    assert _clocks(ast.parse(bad)) == [2, 3]
    found = [
        f"{path.relative_to(HERE)}:{line}"
        for path in sorted(HERE.rglob("*.py"))
        if str(path.relative_to(HERE)) not in TELLS_A_TIME
        # Most files have neither in them, and need not be parsed.
        if re.search(r"\btime\.|\btimeout\b", text := path.read_text())
        for line in _clocks(ast.parse(text))
    ]
    assert found == []
