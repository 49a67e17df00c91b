"""A figure of a report as the report draws it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from regrow.report.drawing import Drawing
from regrow.report.figures.style import house_style, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def drawn(drawing: Drawing) -> Figure:
    """Draw it on a sheet of its own."""
    with house_style():
        figure = sheet(drawing.size)
        drawing.draw(figure)
    return figure


def first_axes(drawings: Iterable[Drawing]) -> Axes:
    """Draw the first of some figures; its first axes."""
    return drawn(next(iter(drawings))).axes[0]


def caption(drawings: Iterable[Drawing]) -> str:
    """The caption of the first of some figures."""
    return next(iter(drawings)).caption
