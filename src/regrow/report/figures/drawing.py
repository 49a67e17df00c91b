"""A figure to be drawn: its names, its words, and what draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure to be drawn.

    Args:
        name: Its file's name without a suffix, unlike any other's of the report.
        cell: Its cell; None for a figure of the whole study or of a panel.
        panel: Its panel of a sweep; None for every other figure.
        title: Its title, a few words.
        caption: Its caption, with n.
        alt: What kind of picture it is, for those who do not see it.
        wide: Whether it is as wide as two others.
        more: Whether it is one of many alike, for a closer look.
        draw: Draws it.
    """

    name: str
    cell: str | None
    panel: str | None = None
    title: str
    caption: str
    alt: str
    wide: bool
    more: bool = False
    draw: Callable[[], tuple[Figure, Axes]]
