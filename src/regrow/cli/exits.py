"""How commands end: one line for a user's mistake, and exit codes that scripts can tell apart."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NoReturn

import typer

from regrow.errors import RegrowError

OK: Final = 0
TROUBLE: Final = 1
BAD_USE: Final = 2
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: 0 done · 1 trouble while running (a trial crashed, the disk is full) · "
    "2 bad use, nothing was run · 130 interrupted, the same command resumes"
)


def say(text: str) -> None:
    """Tell a person something; standard output is kept for results."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 # this is where the command line speaks


def show(text: str) -> None:
    """Write a result to standard output."""
    print(text, flush=True)  # noqa: T201 # this is where the command line answers


def fail(text: str, *, code: int) -> NoReturn:
    """Say what is wrong and end."""
    for line in text.splitlines():
        say(f"error: {line}")
    raise typer.Exit(code)


@contextmanager
def told_as(code: int) -> Generator[None]:
    """Turn regrow's errors, and Ctrl-C, into a line and an exit code, without a traceback."""
    try:
        yield
    except RegrowError as error:
        fail(str(error), code=code)
    except KeyboardInterrupt:
        say("stopped; the same command resumes")
        raise typer.Exit(INTERRUPTED) from None
