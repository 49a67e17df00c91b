"""A number of every arm over tasks or rates: lines in one frame; of many arms a panel each, beside references.

The figures of tasks and of rates are made of it; numbers come from `report/task_numbers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import INK, QUIET, arm_styles, many_arms
from regrow.report.judged import judged_by
from regrow.report.task_numbers import fresh_arm
from regrow.study.results import Results

_COLUMNS: Final = 5
_HIGH: Final = 1.35
_LETTERS: Final = 22

_TOP: Final = 102.0  # percent: room above 100 for a line's width

Numbers = (
    Mapping[str, Mapping[int, Sequence[float]]] | Mapping[str, Mapping[float, Sequence[float]]]
)
"""Arm to task, or to learning rate, to one number a trial."""


def figure_of(
    results: Results,
    found: Numbers,
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    named: str,
    short: str,
    rates: bool = False,
    level: float | None = None,
) -> Drawing:
    """The figure of what trials are judged by or alike; on its axis it is `named`, in panels `short`."""
    many, unit = many_arms(results), judged_by(results.study.stream).unit
    panels = sum(arm not in _references(results) for arm in found)
    lines = _Lines(
        results,
        found=intervals(found, scale=unit.scale),
        ylabel=f"{short if many else named}{unit.of_value}",
        rates=rates,
        level=level,
    )
    return Drawing(
        name=name,
        place="overview" if rates else "cell",
        title=title,
        caption=caption,
        alt=alt,
        size=axes.panels_size(panels, columns=_COLUMNS, high=_HIGH) if many else (WIDE[0], 3.6),
        narrow=axes.narrow_panels(panels, high=_HIGH) if many else (PHONE, 3.6),
        as_printed=many,
        kept=True,
        draw=lines.in_panels if many else lines.in_a_frame,
    )


def told(results: Results, *, few: str) -> str:
    """What the lines are, for a caption; in one frame that is `few`."""
    if not many_arms(results):
        return few
    lines = zip(("Black", "dashed"), _references(results), strict=False)
    known = ", ".join(f"{line}: {arm}" for line, arm in lines)
    return f"{known}; in colour: the panel's arm, with its 95 % t interval over the seeds"


def intervals(
    found: Numbers, *, scale: float = 1.0, shown: bool = True
) -> dict[str, dict[float, axes.Ends]]:
    """The mean of each number with its interval, or alone."""
    return {
        arm: {
            place: axes.mean_in_interval(values, scale=scale, interval=shown)
            for place, values in own.items()
        }
        for arm, own in found.items()
    }


def task_axis(ax: Axes, found: Mapping[str, axes.Series]) -> None:
    """Let the axis from left to right be that of the tasks."""
    last = max(map(max, found.values()))
    ax.set_xlim(min(1, last - 1), last + 0.02 * last)
    ax.set_xlabel("Task")
    axes.whole_numbers(ax.xaxis)


def _references(results: Results) -> tuple[str, ...]:
    """Plain training, and the arm that begins each task with a fresh network."""
    fresh = fresh_arm(results)
    return (results.study.baseline, *(() if fresh is None else (fresh,)))


@dataclass(frozen=True)
class _Lines:
    """What is drawn."""

    results: Results
    found: Mapping[str, axes.Series]
    ylabel: str
    rates: bool  # from left to right are learning rates, and not tasks
    level: float | None  # what chance reaches

    def in_a_frame(self, figure: FigureBase) -> None:
        """All of them together."""
        ax = figure.add_subplot()
        handles = axes.lines_in_bands(ax, self.results, self.found)
        if self.rates:
            ax.set(xscale="log", xlabel="Learning rate")
        else:
            task_axis(ax, self.found)
        if self.level is not None:
            ax.axhline(self.level, color=INK, lw=0.8, ls=(0, (2, 2)), zorder=1)
        if judged_by(self.results.study.stream).unit.lower:
            every = list(chain(*(own.values() for own in self.found.values())))
            axes.errors_axis(ax, [y for _, y, _ in every], ends=[end for *_, end in every])
        elif not self.rates:  # bands of few seeds reach further than the numbers can
            ax.set_ylim(top=min(ax.get_ylim()[1], _TOP))
        ax.set_ylabel(self.ylabel)
        axes.legend_above(ax, list(handles.values()))

    def in_panels(self, figure: FigureBase) -> None:
        """Each beside the references, all on one scale."""
        known, styles = _references(self.results), arm_styles(self.results)
        own = {arm: series for arm, series in self.found.items() if arm not in known}
        xlabel = "Rate" if self.rates else "Task"
        grid = axes.panels(figure, list(own), columns=_COLUMNS, xlabel=xlabel, ylabel=self.ylabel)
        for ax, (arm, series) in zip(grid, own.items(), strict=True):
            ax.set_title(axes.shown(axes.shortened(arm, _LETTERS)), loc="left", fontsize=7)
            for name, colour, line in zip(known, (INK, QUIET), ("-", (0, (4, 2))), strict=False):
                if beside := self.found.get(name):
                    middles = [middle for _, middle, _ in beside.values()]
                    ax.plot(list(beside), middles, color=colour, ls=line, lw=1.0, zorder=2)
            places, colour = list(series), styles[arm].colour
            low, middle, high = zip(*series.values(), strict=True)
            ax.fill_between(places, low, high, color=colour, alpha=0.2, lw=0, zorder=1)
            ax.plot(places, middle, color=colour, lw=1.6, zorder=3)
            if self.level is not None:
                ax.axhline(self.level, color=INK, lw=0.6, ls=(0, (1, 2)), zorder=1)
            if self.rates:
                ax.set_xscale("log")
        most = math.inf if judged_by(self.results.study.stream).unit.lower else 100.0
        axes.same_scale(grid, low=0.0, high=most)
