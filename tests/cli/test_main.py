from __future__ import annotations

import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from regrow import __version__
from regrow.cli.main import app

HEAVY = ("torch", "numpy", "scipy", "pydantic", "matplotlib", "sklearn")


def test_help_loads_nothing_heavy_and_comes_at_once() -> None:
    program = (
        "import sys; from regrow.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    started = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True
    )
    assert time.perf_counter() - started < 2.0  # 0.25 s on an idle machine
    assert found.stdout.splitlines()[-1] == "[]"
    assert "Exit codes:" in found.stdout


def test_the_version_is_printed() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"regrow {__version__}\n")


@pytest.mark.parametrize("command", ["run", "report", "ls"])
def test_every_command_has_examples_and_exit_codes(command: str) -> None:
    found = CliRunner().invoke(app, [command, "--help"])
    assert found.exit_code == 0
    assert "Examples:" in found.stdout
    assert "Exit codes:" in found.stdout
