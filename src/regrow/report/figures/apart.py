"""Every arm in a panel of its own, beside the arms that it is measured by: where a study has too many for one panel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.figure import FigureBase

from regrow.report.figures import axes
from regrow.report.figures.style import INK, QUIET, arm_styles
from regrow.report.task_numbers import fresh_arm
from regrow.report.unit import ACCURACY, Unit
from regrow.study.results import Results

COLUMNS: Final = 5

_HIGH: Final = 1.35
_LETTERS: Final = 22

Points = Sequence[tuple[float, tuple[float, float, float]]]
"""Places from left to right, each with the low end, the middle and the high end of a number there."""


def references(results: Results) -> tuple[str, ...]:
    """Plain training, and the arm that begins each task with a fresh network."""
    fresh = fresh_arm(results)
    return (results.study.baseline, *(() if fresh is None else (fresh,)))


def size(results: Results, arms: Mapping[str, object]) -> tuple[float, float]:
    """The size of a figure with a panel for each of these arms but the references."""
    return axes.panels_size(_count(results, arms), columns=COLUMNS, high=_HIGH)


def narrow(results: Results, arms: Mapping[str, object]) -> tuple[float, float]:
    """The same for a narrow screen."""
    return axes.narrow_panels(_count(results, arms), high=_HIGH)


def _count(results: Results, arms: Mapping[str, object]) -> int:
    return len([arm for arm in arms if arm not in references(results)])


def told(results: Results) -> str:
    """What the lines are, for a caption."""
    lines = ("Black", "dashed")
    known = ", ".join(
        f"{line}: {arm}" for line, arm in zip(lines, references(results), strict=False)
    )
    return f"{known}; in colour: the panel's arm, with its 95 % t interval over the seeds"


def draw(
    results: Results,
    arms: Mapping[str, Points],
    figure: FigureBase,
    *,
    xlabel: str,
    ylabel: str,
    level: float | None = None,
    log: bool = False,
    unit: Unit = ACCURACY,
) -> None:
    """Draw the panels, all on one scale.

    Args:
        level: What chance reaches.
        log: Whether the places are on a logarithmic scale.
        unit: What the numbers are: percent, which end at 100, or errors.
    """
    known, styles = references(results), arm_styles(results)
    own = {arm: points for arm, points in arms.items() if arm not in known}
    grid = axes.panels(figure, list(own), columns=COLUMNS, xlabel=xlabel, ylabel=ylabel)
    for ax, (arm, points) in zip(grid, own.items(), strict=True):
        ax.set_title(axes.shown(axes.shortened(arm, _LETTERS)), loc="left", fontsize=7)
        for name, colour, line in zip(known, (INK, QUIET), ("-", (0, (4, 2))), strict=False):
            if name in arms:
                places, middles = zip(*((x, y[1]) for x, y in arms[name]), strict=True)
                ax.plot(places, middles, color=colour, ls=line, lw=1.0, zorder=2)
        places, values = zip(*points, strict=True)
        low, middle, high = zip(*values, strict=True)
        ax.fill_between(places, low, high, color=styles[arm].colour, alpha=0.2, lw=0, zorder=1)
        ax.plot(places, middle, color=styles[arm].colour, lw=1.6, zorder=3)
        if level is not None:
            ax.axhline(level, color=INK, lw=0.6, ls=(0, (1, 2)), zorder=1)
        if log:
            ax.set_xscale("log")
    axes.same_scale(grid, low=0.0, high=math.inf if unit.lower else 100.0)
