"""A figure of a report as the report draws it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

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


@contextmanager
def blank() -> Iterator[None]:
    """Reports get empty pictures, where a test is about what stands beside them: painting takes most of the time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "regrow.report.write.rendered",
            lambda drawing, **_: {"svg": b"<svg/>", "png": b""},
        )
        yield


def first_axes(drawings: Iterable[Drawing]) -> Axes:
    """Draw the first of some figures; its first axes."""
    return drawn(next(iter(drawings))).axes[0]


def caption(drawings: Iterable[Drawing]) -> str:
    """The caption of the first of some figures."""
    return next(iter(drawings)).caption
