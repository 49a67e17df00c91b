"""`regrow run --engine`: which one is taken, what it says, and what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regrow.cli.main import app

Tables = Callable[[Path], dict[str, list[tuple[object, ...]]]]

SMALL = ("--set", "model.filters=3", "--set", "model.dense=8", "--seeds", "1", "--epochs", "1")


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and standard error."""
    found = CliRunner().invoke(app, ["run", *map(str, arguments)])
    assert "Traceback" not in found.stderr
    return found.exit_code, found.stderr


def small(out: Path, *arguments: object) -> tuple[int, str]:
    recipes = ("--recipe", "none", "--recipe", "randomout")
    return run("--data", "digits", *SMALL, *recipes, "--jobs", "1", "--out", out, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["--sharing", "--no-sharing"])
def test_a_folder_goes_on_with_its_engine_and_refuses_the_other(
    tmp_path: Path, sharing: str
) -> None:
    out = tmp_path / "run"
    code, said = small(out, "--engine", "modules", sharing)
    assert code == 0, said
    assert "engine modules; results in" in said
    code, said = small(out, "--seeds", "2")
    assert code == 0, said
    assert "4 trials, 2 seeds, 2 of them ended before; 1 process, engine modules" in said
    code, said = small(out, "--seeds", "2", "--engine", "stack")
    assert code == 2
    (line,) = said.splitlines()
    assert "holds the results of another study" in line
    assert "engine: nothing there, 'stack' here. Choose another --out" in line


@pytest.mark.slow
def test_small_chains_run_in_a_stack_without_being_asked(tmp_path: Path, tables: Tables) -> None:
    code, said = small(tmp_path / "auto")
    assert code == 0, said
    assert "2 trials, 1 seed; 1 process, engine stack; results in" in said
    code, said = small(tmp_path / "auto", "--engine", "modules")
    assert code == 2
    assert "engine: 'stack' there, nothing here" in said
    code, said = small(tmp_path / "alone", "--engine", "stack", "--no-sharing")
    assert code == 0, said
    assert tables(tmp_path / "alone") == tables(tmp_path / "auto")


@pytest.mark.slow
def test_a_residual_network_runs_as_modules_without_being_asked(tmp_path: Path) -> None:
    arguments = ("--data", "digits", "--model", "resnet20", "--recipe", "none", "--seeds", "1")
    out = tmp_path / "run"
    code, said = run(*arguments, "--epochs", 1, "--jobs", 1, "--out", out)
    assert code == 0, said
    assert "engine modules; results in" in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--model", "resnet20", "--recipe", "none"), "arm none: "),
        (("--recipe", "grafting", "--set", "train.momentum=0.9"), "arm grafting: it trains 2 networks"),
        (("--recipe", "none", "--set", "train.overlap_penalty=0.1"), "arm none: train.overlap_penalty"),
    ],
    ids=["model", "partners", "loss"],
)  # fmt: skip
def test_a_stack_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    out = tmp_path / "run"
    code, said = run("--data", "digits", "--engine", "stack", "--out", out, *arguments)
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"--engine stack: the study cannot run in a stack ({reason}" in line
    assert not out.exists()


def test_an_unknown_engine_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    code, said = small(tmp_path / "run", "--engine", "jax")
    assert (code, said) == (2, "error: --engine: must be auto, modules or stack, got jax\n")
    assert not (tmp_path / "run").exists()
