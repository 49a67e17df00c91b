"""A results folder belongs to one run at a time, on every platform."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fresh import fresh
from regrow.errors import ConfigError, RegrowError, StoreError, UnknownNameError
from regrow.study.folder import explained, folder_held

HOLD = """
import sys
from pathlib import Path
from regrow.study.folder import folder_held

with folder_held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_folder_is_held_by_one_and_free_again_afterwards(tmp_path: Path) -> None:
    with folder_held(tmp_path):
        told = rf"{tmp_path}: another run is at work here \(process {os.getpid()}\); wait for it"
        for _ in range(2):  # asking changes nothing
            with pytest.raises(StoreError, match=told), folder_held(tmp_path):
                pass
    with folder_held(tmp_path):
        pass


@pytest.mark.parametrize(
    "told",
    [ConfigError("a recipe is gone"), UnknownNameError("recipe", "redo", []), StoreError("full")],
)
def test_what_is_one_line_already_is_told_as_it_is(tmp_path: Path, told: RegrowError) -> None:
    with pytest.raises(type(told)) as found, explained(tmp_path, "cannot be read"):
        raise told
    assert found.value is told


def test_a_killed_process_lets_its_folder_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(StoreError, match=rf"at work here \(process {other.pid}\)"),
            folder_held(tmp_path),
        ):
            pass
        other.kill()
    with folder_held(tmp_path):
        pass


def test_the_folder_of_a_run_of_before_is_held_too(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / ".lock").open("a+") as file:  # what regrow did before it took a library for it
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(StoreError, match="at work here; wait"), folder_held(tmp_path):
            pass


def test_a_platform_without_fcntl_imports_the_laboratory_and_locks(tmp_path: Path) -> None:
    script = """
import pkgutil, sys, warnings

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "fcntl":
            raise ModuleNotFoundError(f"no {name} here", name=name)

sys.meta_path.insert(0, Refuse())
try:
    import fcntl
except ImportError:
    pass
else:
    raise SystemExit("fcntl is here all the same")

import importlib
import regrow.cli, regrow.lab, regrow.report
from regrow.errors import StoreError

for package in (regrow.lab, regrow.report, regrow.cli):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
assert "fcntl" not in sys.modules

from pathlib import Path
from regrow.study.folder import folder_held

warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
for _ in range(2):
    with folder_held(folder):
        try:
            with folder_held(folder):
                raise SystemExit("held twice")
        except StoreError as error:
            print(error)
"""
    code, said = fresh(script, tmp_path, folder=tmp_path, forget={"regrow", "filelock", "fcntl"})
    assert code == 0, said
    assert said.count("another run is at work here (process ") == 2
