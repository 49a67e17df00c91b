"""A figure of a report: its words, its place, and what draws it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

NARROW: Final = (3.5, 2.9)  # width and height in inches of a figure for one column of a paper

PHONE: Final = 3.6  # width in inches of a figure for a narrow screen

WIDE: Final = (7.2, 3.0)  # width and height in inches of a figure across two columns

Place = Literal["panel", "choice", "overview", "cell", "body", "more"]
"""Where a figure stands: at the head of a sweep's panel or beside its chosen cell; among all cells; in the section of
one cell at its head, after its tables, or folded up there with others of its kind."""

MANY_CELLS: Final = 8
"""Of studies with more cells, each cell has the first of its figures alone: a page must open, too."""

_UNFOLDED: Final = 2


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure to be drawn."""

    # Its file's name without a suffix; that of its cell or panel is put before it, and it is made fit for a file
    # system, when a report is put together.
    name: str
    place: Place = "body"  # its place on the page
    # Its cell, or its panel's key, said when a report is put together; empty for a figure of the whole study.
    of: str = ""
    title: str  # its title, a few words
    caption: str  # its caption, with n
    alt: str  # what kind of picture it is, for those who do not see it
    size: tuple[float, float]  # width and height in inches
    # The same for a narrow screen, where the wide figure could not be read; None for one that fits.
    narrow: tuple[float, float] | None = None
    arm: str = ""  # the arm that it is about, where that is one alone
    # Whether a page in the dark leaves its colours alone: its caption names them, or a scale is read by them.
    as_printed: bool = False
    kept: bool = False  # whether it goes along where a study is exported; the page has the others
    draw: Callable[[FigureBase], object]  # draws it on an empty figure, or on an empty part of one

    @property
    def wide(self) -> bool:
        """Whether it is as wide as two others."""
        return self.size[0] > NARROW[0]


def in_turn(number: int) -> Place:
    """The place of the n-th of many figures that are alike: those of a few arms are seen at once."""
    return "body" if number < _UNFOLDED else "more"


def file_name(text: str) -> str:
    """A text as part of a file's name on every file system."""
    return re.sub(r"[^A-Za-z0-9.=,+_-]+", "_", text).strip("._")[:120] or "figure"
