from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from regrow import __version__
from regrow.cli.main import app

HEAVY = ("torch", "numpy", "scipy", "pydantic", "matplotlib", "sklearn")


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from regrow.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print(len([name for name in sys.modules if name.startswith('regrow')]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True
    )
    *_, heavy, own = found.stdout.splitlines()
    assert heavy == "[]"
    assert int(own) < 15  # regrow's own files: the command line and what it says
    assert "Exit codes:" in found.stdout


def test_a_mistake_does_not_wait_for_torch() -> None:
    program = (
        "import sys; from regrow.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "run", "no-such-study.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "2 False\n"
    assert "no-such-study.toml" in found.stderr


@pytest.mark.parametrize("which", [[], ["repr"]])
def test_recipes_are_listed_without_torch(which: list[str]) -> None:
    """With their settings and where they depart from their papers."""
    program = (
        "import sys; from regrow.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'numpy', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, "ls", "recipes", *which],
        capture_output=True,
        text=True,
        check=True,
    )
    *card, heavy = found.stdout.splitlines()
    assert heavy == "[]"
    assert any(line.startswith("  settings: s1=20, s2=10, cycles=3") for line in card)
    assert any(line.startswith("  12. Cycles: three in the paper") for line in card)
    assert any(line.startswith("randomout: ") for line in card) is not bool(which)


def test_the_version_is_printed() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"regrow {__version__}\n")


@pytest.mark.parametrize("command", ["run", "report", "ls", "inspect"])
def test_every_command_has_examples_and_exit_codes(command: str) -> None:
    found = CliRunner().invoke(app, [command, "--help"])
    assert found.exit_code == 0
    assert "Examples:" in found.stdout
    assert "Exit codes:" in found.stdout
