"""What happens over the tasks of a stream: accuracy, the state of the units, and how many are renewed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures import apart, axes
from regrow.report.figures.style import INK, arm_styles, many_arms
from regrow.report.judged import judged_by
from regrow.report.task_numbers import ByTask, measured, of_units, probed, renewed_by_task
from regrow.report.unit import Unit
from regrow.study.results import Results
from regrow.study.stream import ClassIncremental
from regrow.study.task_records import HealthRecord

_INTERVAL = "Line: mean, band: its 95 % t interval over the seeds"


def accuracy(results: Results, cell: str) -> Iterator[Drawing]:
    """The online accuracy of each task, of every arm; the error where numbers are learnt."""
    judged = judged_by(results.study.stream)
    found = _of_arms(results, lambda arm: measured(results, cell, arm, judged.online))
    if not found:
        return
    many = many_arms(results)
    lines = apart.told(results) if many else _INTERVAL
    what = "Share of right predictions in each task, each"
    below = _chance_told(results)
    if judged.unit.lower:
        what, below = "Mean squared error of the predictions in each task, each", "Less is better."
    named = _online_of(judged.unit)
    yield _by_task(
        results,
        cell,
        found,
        name="tasks",
        title=f"{named}, task by task",
        caption=(
            f"{what} made before the update that its batch led to. {lines}; n = {_counts(found)}. {below}"
        ),
        named=named,
        short="Online",
    )


def at_end(results: Results, cell: str) -> Iterator[Drawing]:
    """The accuracy when each task ends, of every arm, where trials are judged by it and there are more than two."""
    stream = results.study.stream
    if stream is None or stream.judged_by != "end" or stream.tasks <= _FEW:
        return
    found = _of_arms(results, lambda arm: measured(results, cell, arm, judged_by(stream).at_end))
    if not found:
        return
    many = many_arms(results)
    lines = apart.told(results) if many else _INTERVAL
    named = judged_by(stream).title
    yield _by_task(
        results,
        cell,
        found,
        name="tasks-end",
        title=f"{named} at the end of each task",
        caption=(
            f"Share of right predictions on what each task is tested on, when it ends. {lines}; n = {_counts(found)}. "
            f"{_chance_told(results)}"
        ),
        named=named,
        short="At the end",
    )


def _by_task(
    results: Results,
    cell: str,
    found: Mapping[str, ByTask],
    *,
    name: str,
    title: str,
    caption: str,
    named: str,
    short: str,
) -> Drawing:
    """One number an arm and task: lines in one frame, or of many arms a panel each."""
    many = many_arms(results)
    return Drawing(
        name=name,
        place="cell",
        title=title,
        caption=caption,
        alt=f"Line chart of {named.lower()} by task, one line an arm.",
        size=apart.size(results, found) if many else (WIDE[0], 3.6),
        narrow=apart.narrow(results, found) if many else (PHONE, 3.6),
        as_printed=many,
        kept=True,
        draw=partial(_draw_accuracy, results, cell, found, named=named, short=short),
    )


def health(results: Results, cell: str) -> Iterator[Drawing]:
    """How the units are at the end of each task, of every arm: a panel a number."""
    panels = {
        panel: found
        for panel in _PANELS
        if (found := _of_arms(results, lambda arm, p=panel: of_units(results, cell, arm, p.number)))
    }
    if not panels:
        return
    told = " ".join(panel.told for panel in panels)
    counts = _counts(next(iter(panels.values())))
    yield Drawing(
        name="health",
        title="The units at the end of each task",
        caption=(
            f"{told} Over all layers' units, each layer with as many votes as it has units. {_bands(results)}; "
            f"n = {counts}. A symptom, not a verdict."
        ),
        alt="Small line charts by task, one line an arm.",
        size=axes.panels_size(len(panels), columns=_beside(panels), high=2.3),
        narrow=axes.narrow_panels(len(panels)),
        draw=partial(_draw_health, results, panels),
    )


def renewals(results: Results, cell: str) -> Iterator[Drawing]:
    """How many units each arm renews in each task."""
    found = _of_arms(results, lambda arm: renewed_by_task(results, cell, arm))
    found = {arm: own for arm, own in found.items() if any(map(any, own.values()))}
    if not found:
        return
    yield Drawing(
        name="renewals-by-task",
        title="Renewed units, task by task",
        caption=(
            f"Units that a trial renewed in each task. {_bands(results)}; n = {_counts(found)}. Arms that renewed "
            "nothing are left out."
        ),
        alt="Line chart of renewed units by task, one line an arm.",
        size=(WIDE[0], 3.0),
        narrow=(PHONE, 3.0),
        draw=partial(_draw_renewals, results, found),
    )


def probes(results: Results, cell: str) -> Iterator[Drawing]:
    """What each arm's network can still learn when a task ends, where the study asked."""
    found = _of_arms(results, lambda arm: probed(results, cell, arm))
    if not found:
        return
    yield Drawing(
        name="probes",
        title="What the network can still learn",
        caption=(
            "Fresh-probe gap at the end of each task: the loss that a copy of the network has left after "
            "diagnostics.probe_steps steps on the task's test images with shuffled labels, minus that of a network "
            f"with fresh weights. Above 0: it learns worse than a fresh one. {_bands(results)}; n = {_counts(found)}."
        ),
        alt="Line chart of the fresh-probe gap by task, one line an arm.",
        size=(WIDE[0], 3.0),
        narrow=(PHONE, 3.0),
        draw=partial(_draw_probes, results, found),
    )


_IN_A_ROW: Final = 4

_TOP: Final = 102.0
"""Percent: room above 100 for a line's width."""

_FEW: Final = 2
"""So many tasks are no line."""


@dataclass(frozen=True)
class _Panel:
    """One number of the units."""

    title: str
    told: str
    number: Callable[[HealthRecord], float | None]
    scale: float = 1.0
    most: float = math.inf


_PANELS = (
    _Panel(
        "Dead (%)", "Dead: gives 0 on all test images looked at.", attrgetter("dead"), 100.0, 100.0
    ),
    _Panel(
        "Dormant (%)",
        "Dormant: gives at most a tenth of its layer's mean.",
        attrgetter("dormant"),
        100.0,
        100.0,
    ),
    _Panel(
        "Length of the weights",
        "Length of a layer's weights: the root of the sum of their squares.",
        attrgetter("weight_norm"),
    ),
    _Panel(
        "Effective rank",
        "Effective rank: the exponential of the entropy of the shares of the singular values of what units give.",
        attrgetter("effective_rank"),
    ),
    _Panel(
        "Rare-firing (%)",
        "Rare-firing: gives something, but on fewer than one image of a hundred.",
        attrgetter("rare"),
        100.0,
        100.0,
    ),
    _Panel(
        "Step / weight (%)",
        "Step: the length of the optimizer's next step, over that of the layer's weights.",
        attrgetter("step"),
        100.0,
    ),
)


def _beside(panels: Sized) -> int:
    """How many stand in a row."""
    return len(panels) if len(panels) <= _IN_A_ROW else 3


def _online_of(unit: Unit) -> str:
    """What is measured in a task, to begin a title with."""
    return "Online mean squared error" if unit.lower else "Online accuracy"


def _chance_told(results: Results) -> str:
    """What stands in a caption of the level of chance."""
    if isinstance(results.study.stream, ClassIncremental):
        return "What chance reaches falls with each task, in which there are more classes."
    return f"{'Dotted' if many_arms(results) else 'Dashed'}: what chance reaches."


def _chance(results: Results, cell: str) -> float | None:
    """The level of chance; None where it is another in each task, or nothing."""
    if isinstance(results.study.stream, ClassIncremental):
        return None
    shares = (trial.majority_share for trial in results.trials_in(cell))
    return next((share for share in shares if share is not None), None)


def _of_arms(results: Results, numbers: Callable[[str], ByTask]) -> dict[str, ByTask]:
    """Those of which anything is known, in the order of the study."""
    found = {arm.label: numbers(arm.label) for arm in results.study.arms}
    return {arm: own for arm, own in found.items() if own}


def _counts(found: Mapping[str, ByTask]) -> str:
    counts = [max(map(len, own.values())) for own in found.values()]
    return f"{wording.span(counts)} {'seed' if max(counts) == 1 else 'seeds'}"


def _bands(results: Results) -> str:
    if many_arms(results):
        return "Line: mean over the seeds; with so many arms, intervals are left out"
    return _INTERVAL


def _draw_accuracy(
    results: Results,
    cell: str,
    found: Mapping[str, ByTask],
    figure: FigureBase,
    *,
    named: str,
    short: str,
) -> None:
    unit, chance = judged_by(results.study.stream).unit, _chance(results, cell)
    if many_arms(results):
        level = None if chance is None else 100 * chance
        points = {
            arm: [
                (float(task), axes.mean_in_interval(values, scale=unit.scale))
                for task, values in own.items()
            ]
            for arm, own in found.items()
        }
        label = f"{short}{unit.of_value}"
        apart.draw(results, points, figure, xlabel="Task", ylabel=label, level=level, unit=unit)
        return
    ax = figure.add_subplot()
    handles = _lines(results, ax, found, scale=unit.scale)
    if chance is not None:
        ax.axhline(100 * chance, color=INK, lw=0.8, ls=(0, (2, 2)), zorder=1)
    if unit.lower:
        every = [
            axes.mean_in_interval(numbers) for own in found.values() for numbers in own.values()
        ]
        axes.errors_axis(ax, [y[1] for y in every], ends=[y[2] for y in every])
    else:  # bands of few seeds reach further than the numbers can
        ax.set_ylim(top=min(ax.get_ylim()[1], _TOP))
    ax.set_ylabel(f"{named}{unit.of_value}")
    axes.legend_above(ax, handles)


def _draw_health(
    results: Results, panels: Mapping[_Panel, Mapping[str, ByTask]], figure: FigureBase
) -> None:
    titles = [panel.title for panel in panels]
    grid = axes.panels(figure, titles, columns=_beside(panels), ylabel="")
    handles: list[Artist] = []
    for ax, (panel, found) in zip(grid, panels.items(), strict=True):
        own = _lines(results, ax, found, scale=panel.scale)
        axes.same_scale(
            [ax], low=0.0, high=panel.most
        )  # bands of few seeds reach further than the numbers can
        handles = own if len(own) > len(handles) else handles
    axes.legend_of_panels(figure, handles)


def _draw_renewals(results: Results, found: Mapping[str, ByTask], figure: FigureBase) -> None:
    ax = figure.add_subplot()
    handles = _lines(results, ax, found, scale=1.0)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("Units renewed in a task")
    axes.legend_above(ax, handles)


def _draw_probes(results: Results, found: Mapping[str, ByTask], figure: FigureBase) -> None:
    ax = figure.add_subplot()
    handles = _lines(results, ax, found, scale=1.0)
    ax.axhline(0.0, color=INK, linewidth=0.8)
    ax.set_ylabel("Fresh-probe gap")
    axes.legend_above(ax, handles)


def _lines(
    results: Results, ax: Axes, found: Mapping[str, ByTask], *, scale: float
) -> list[Artist]:
    """Means over the tasks with their intervals, a line an arm."""
    styles, bands = arm_styles(results), not many_arms(results)
    handles: list[Artist] = []
    for arm, own in found.items():
        values = [
            axes.mean_in_interval(numbers, scale=scale, interval=bands) for numbers in own.values()
        ]
        handles.append(axes.line_in_band(ax, list(own), values, style=styles[arm], label=arm))
    ax.set_xlabel("Task")
    last = max(max(own) for own in found.values())
    ax.set_xlim(min(1, last - 1), last + 0.02 * last)
    axes.whole_numbers(ax.xaxis)
    return handles
