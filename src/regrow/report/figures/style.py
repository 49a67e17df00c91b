"""One look for all figures: colours, markers and lines of the arms, and how a figure becomes a file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import matplotlib as mpl
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from regrow.report.drawing import NARROW, PHONE, WIDE
from regrow.study.results import Results

T = TypeVar("T", bound=Hashable)

_FEW: Final = 6

INK: Final = "#1a1a1a"
QUIET: Final = "#6b6b6b"
FAINT: Final = "#d9d9d9"
FAILED: Final = "#f1f1f1"

# Okabe and Ito's colours without the yellow, which is lost on white; in an order in which
# neighbours differ in lightness too, so that they stay apart in grey.
_COLOURS: Final = ("#0072b2", "#e69f00", "#d55e00", "#56b4e9", "#009e73", "#cc79a7")
_MARKERS: Final = ("o", "^", "s", "v", "D", "P", "X", "<", ">")
_LINES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2, 1, 2, 1, 2)))


@dataclass(frozen=True, kw_only=True)
class ArmStyle:
    """How one arm is drawn in every figure."""

    colour: str  # hexadecimal
    marker: str  # a marker of matplotlib's
    line: str | tuple[int, tuple[float, ...]]  # a line style of matplotlib's


def arm_styles(results: Results) -> Mapping[str, ArmStyle]:
    """Each arm's look, the baseline black: colour is never alone, and no two arms share marker and colour."""
    baseline = results.study.baseline
    others = [arm.label for arm in results.study.arms if arm.label != baseline]
    found = {baseline: ArmStyle(colour=INK, marker="o", line="-")}
    for index, label in enumerate(others):
        found[label] = ArmStyle(
            colour=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[1:][index % (len(_MARKERS) - 1)],
            line=_LINES[1:][index % (len(_LINES) - 1)],
        )
    return {arm.label: found[arm.label] for arm in results.study.arms}


def by_depth(things: Sequence[T]) -> dict[T, tuple[float, float, float, float]]:
    """Give things in an order their colours, from dark to light."""
    shades = mpl.colormaps["viridis"].resampled(256)
    # The map's end is too pale for white paper.
    places = [0.88 * place / max(len(things) - 1, 1) for place in range(len(things))]
    return dict(zip(things, map(shades, places), strict=True))


def even(first: float, last: float, number: int) -> list[float]:
    """Numbers at even distances; of one alone the last."""
    if number == 1:
        return [last]
    return [first + (last - first) * index / (number - 1) for index in range(number)]


def many_arms(results: Results) -> bool:
    """Whether a study has more arms than fit side by side into one column of a paper."""
    return len(results.study.arms) > _FEW


def arms_size(results: Results) -> tuple[float, float]:
    """The size of a figure whose width depends on the number of arms."""
    return (WIDE[0], 3.6) if many_arms(results) else NARROW


def narrow_arms(results: Results) -> tuple[float, float] | None:
    """The size of such a figure on a narrow screen; None where it fits as it is."""
    return (PHONE, 4.2) if many_arms(results) else None


@contextmanager
def house_style() -> Generator[None]:
    """Draw in the house's style, and leave the user's own settings as they were."""
    with style.context("regrow.report.figures.house"), warnings.catch_warnings():
        # A label in a script that the font lacks is drawn as boxes: no reason to stop a report.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def sheet(size: tuple[float, float]) -> Figure:
    """An empty figure of so many inches that no window knows of."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def saved(figure: Figure, *, kind: str, title: str, caption: str) -> bytes:
    """Render a figure, the same bytes every time in the house's style, with its caption inside."""
    buffer = io.BytesIO()
    metadata = {"Title": title, "Description": caption}
    if kind == "svg":
        # The dots per inch are those of the parts drawn as pixels.
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata | {"Date": None})
    else:
        figure.savefig(buffer, format=kind, metadata=metadata | {"Software": None})
    return buffer.getvalue()
