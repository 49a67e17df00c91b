from __future__ import annotations

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--jobs", "0"], ("'--jobs'", "1", "got '0'", "'regrow run --help'")),
        (["run", "--seeds", "many"], ("'--seeds'", "integer", "'many'")),
        (["run", "--sedes", "3"], ("No such option: --sedes", "--seeds")),
        (["run", "--lr"], ("'--lr' requires an argument",)),
        (["run", "a.toml", "b.toml"], ("unexpected extra argument", "b.toml")),
        (["walk"], ("No such command 'walk'", "'regrow --help'")),
        (["ls"], ("Missing argument", "recipes, models, data, runs")),
        (["ls", "recipe"], ("'recipe' is not one of", "'regrow ls --help'")),
        (["report"], ("Missing argument 'FOLDER'",)),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(
    arguments: list[str], told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    found = CliRunner().invoke(app, arguments)
    assert (found.exit_code, found.stdout) == (2, "")
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: command line: ")
    for words in told:
        assert words in line


def test_no_arguments_show_the_help_alone() -> None:
    found = CliRunner().invoke(app, [])
    assert found.exit_code == 2
    assert "Examples:" in found.stdout
    assert "error" not in found.stderr
