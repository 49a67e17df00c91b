"""Benchmarks still find what they measure: names inside the library that they wrap may have moved."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
APART = {"ray_faults.py", "ray_throughput.py"}
"""They need Ray, and their folder's tests beside them."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    sorted(each for each in FOLDER.glob("*.py") if each.name not in APART),
    ids=lambda each: each.name,
)
def test_a_benchmark_can_be_loaded(path: Path) -> None:
    """In a process of its own, for some of them wrap methods to time them."""
    load = f"import runpy, sys; sys.path.insert(0, {str(FOLDER)!r}); runpy.run_path({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
