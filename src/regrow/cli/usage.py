"""Mistakes in options and commands, told in one line like every other mistake."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import typer
from typer.core import TyperGroup

from regrow.cli.exits import BAD_USE, INTERRUPTED, say

# What the parser raises. Which package it comes from depends on typer's version; typer's own name does not.
_UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]


class OneLineGroup(TyperGroup):
    """Commands that tell a mistake in one line, with the value that came: a log or a narrow terminal breaks frames."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Parse and run."""
        run = partial(super().main, *args, **{**options, "standalone_mode": False})
        if not options.get("standalone_mode", True):
            return run()
        try:
            code = run()
        except _UsageError as error:
            if text := _line(error):
                say(f"error: {text}")
            raise SystemExit(BAD_USE) from None
        except typer.Abort:
            raise SystemExit(INTERRUPTED) from None
        raise SystemExit(code if isinstance(code, int) else 0)


def _line(error: Any) -> str:
    """The parser's message, the value that came, and where help is; empty after the help itself was shown."""
    text = " ".join(str(error.format_message()).split()).rstrip(".").replace("Value error, ", "")
    if not text:
        return ""
    told = getattr(error.__cause__, "errors", None)
    came = repr(told()[0]["input"]) if told is not None else ""
    got = f", got {came}" if came and came not in text else ""
    path = [] if error.ctx is None else error.ctx.command_path.split()[1:]
    return f"command line: {text}{got}; see '{' '.join(['regrow', *path])} --help'"
