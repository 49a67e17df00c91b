"""The house stays small enough to be read: no file is long; inside, a docstring is a line, and outside it says all."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from regrow import functional

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "regrow"
LONG, LONGEST = 150, 400
FORM = re.compile(r"^(Args|Attributes|Returns|Raises):$", re.MULTILINE)


def _inside() -> list[Path]:
    """The files of which nobody imports anything: those that pydoclint leaves out."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    left_out = re.compile(tools["pydoclint"]["exclude"])
    files = sorted(SRC.rglob("*.py"))
    return [each for each in files if left_out.search(each.relative_to(ROOT).as_posix())]


def _forms(file: Path) -> Iterator[str]:
    """Docstrings that describe arguments one by one."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name not in functional.__all__ and FORM.search(ast.get_docstring(node) or ""):
            yield f"{file.relative_to(SRC)}: {node.name}"


def test_no_file_is_long() -> None:
    lengths = {each: each.read_text().count("\n") for each in SRC.rglob("*.py")}
    assert {each.name: lines for each, lines in lengths.items() if lines >= LONGEST} == {}


def test_who_opens_a_long_file_learns_where_it_stands() -> None:
    """In its first ten lines: what it is, and who calls it or what it hands on."""
    long = [each for each in SRC.rglob("*.py") if each.read_text().count("\n") > LONG]
    heads = {each: ast.get_docstring(ast.parse(each.read_text())) or "" for each in long}
    assert [each.name for each, head in heads.items() if len(head.split("\n\n")) < 2] == []


def test_inside_a_docstring_is_a_line_and_what_a_field_means_stands_beside_it() -> None:
    inside = _inside()
    assert len(inside) > 200
    assert [form for file in inside for form in _forms(file)] == []


@pytest.mark.parametrize("name", functional.__all__)
def test_a_formula_says_all_wherever_it_stands(name: str) -> None:
    formula = getattr(functional, name)
    for section in ("Args", "Returns"):
        assert f"\n{section}:\n" in (inspect.getdoc(formula) or "")
    for argument in inspect.signature(formula).parameters:
        told = rf"^ {{4}}(\w+, )*{argument}(, \w+)*: "
        assert re.search(told, inspect.getdoc(formula) or "", re.MULTILINE), argument
