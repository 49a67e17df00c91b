"""Tables and sentences as a terminal can hold them."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrow.report.table import Table


def terminal_width() -> int | None:
    """How many characters a line may have: as the terminal or COLUMNS says; None in a file or a pipe."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        return None
    return shutil.get_terminal_size().columns or None


def wrapped(text: str, width: int | None) -> str:
    """Break a paragraph at spaces."""
    return text if width is None else textwrap.fill(text, max(width, 20), break_on_hyphens=False)


def fitted(table: Table, width: int | None) -> str:
    """Set a table so that a narrow terminal breaks no line: on its side, or cut into several below each other."""
    from regrow.report.table import Table, as_text

    def fits(text: str) -> bool:
        return width is None or max(map(len, text.splitlines())) <= width

    plain = as_text(table)
    if fits(plain):
        return plain
    found: list[str] = []
    rows = list(table.rows)
    while rows:
        for count in range(len(rows), 0, -1):
            names, *values = zip(table.columns, *rows[:count], strict=True)
            text = as_text(Table(caption="", columns=names, rows=tuple(values)))
            if fits(text) or count == 1:
                found.append(text)
                del rows[:count]
                break
    return "\n\n".join(found)
