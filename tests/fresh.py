"""Programs that load a package anew, in a process forked from one that has loaded torch."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path


def fresh(
    program: str,
    *arguments: object,
    folder: Path,
    forget: Collection[str] = ("regrow",),
) -> tuple[int | None, str]:
    """Run a program as `python -c` does, but with torch loaded: its exit code and all that it printed.

    Packages that it forgets it imports anew. `folder` is where its output is kept.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    said = folder / "said.txt"
    process = context.Process(
        target=_run, args=(program, [*map(str, arguments)], sorted(forget), said)
    )
    process.start()
    process.join()
    return process.exitcode, said.read_text()


def _run(program: str, arguments: Sequence[str], forget: Collection[str], said: Path) -> None:
    with said.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    for name in [name for name in sys.modules if name.split(".")[0] in forget]:
        del sys.modules[name]
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102 # a test's own
