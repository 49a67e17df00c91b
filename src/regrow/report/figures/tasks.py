"""What happens over the tasks of a stream: accuracy, the state of the units, and how many are renewed.

Drawn where `report/figures/order` has them; numbers come from `report/task_numbers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Final, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures import axes, lines
from regrow.report.figures.style import INK, many_arms
from regrow.report.judged import judged_by
from regrow.report.task_numbers import ByTask, measured, of_units, probed, renewed_by_task
from regrow.study.results import Results
from regrow.study.stream import ClassIncremental
from regrow.study.task_records import HealthRecord

_INTERVAL: Final = "Line: mean, band: its 95 % t interval over the seeds"

_FEW: Final = 2  # so many tasks are no line

_IN_A_ROW: Final = 4


class _Panel(NamedTuple):
    """One number of the units."""

    number: Callable[[HealthRecord], float | None]
    title: str
    told: str
    scale: float = 1.0
    most: float = math.inf


_PANELS = (
    _Panel(
        attrgetter("dead"), "Dead (%)", "Dead: gives 0 on all test images looked at.", 100.0, 100.0
    ),
    _Panel(
        attrgetter("dormant"), "Dormant (%)",
        "Dormant: gives at most a tenth of its layer's mean.", 100.0, 100.0,
    ),
    _Panel(
        attrgetter("weight_norm"), "Length of the weights",
        "Length of a layer's weights: the root of the sum of their squares.",
    ),
    _Panel(
        attrgetter("effective_rank"), "Effective rank",
        "Effective rank: the exponential of the entropy of the shares of the singular values of what units give.",
    ),
    _Panel(
        attrgetter("rare"), "Rare-firing (%)",
        "Rare-firing: gives something, but on fewer than one image of a hundred.", 100.0, 100.0,
    ),
    _Panel(
        attrgetter("step"), "Step / weight (%)",
        "Step: the length of the optimizer's next step, over that of the layer's weights.", 100.0,
    ),
)  # fmt: skip


def accuracy(results: Results, cell: str) -> Iterator[Drawing]:
    """The online accuracy of each task, of every arm; the error where numbers are learnt."""
    judged = judged_by(results.study.stream)
    what, named, below = "Share of right predictions", "Online accuracy", _chance_told(results)
    if judged.unit.lower:
        what, named = "Mean squared error of the predictions", "Online mean squared error"
        below = "Less is better."
    if found := _of_arms(results, lambda arm: measured(results, cell, arm, judged.online)):
        yield lines.figure_of(
            results,
            found,
            name="tasks",
            title=f"{named}, task by task",
            caption=(
                f"{what} in each task, each made before the update that its batch led to. "
                f"{lines.told(results, few=_INTERVAL)}; n = {_counts(found)}. {below}"
            ),
            alt=f"Line chart of {named.lower()} by task, one line an arm.",
            named=named,
            short="Online",
            level=_chance(results, cell),
        )


def at_end(results: Results, cell: str) -> Iterator[Drawing]:
    """The accuracy when each task ends, of every arm, where trials are judged by it and there are more than two."""
    stream = results.study.stream
    if stream is None or stream.judged_by != "end" or stream.tasks <= _FEW:
        return
    judged = judged_by(stream)
    if found := _of_arms(results, lambda arm: measured(results, cell, arm, judged.at_end)):
        yield lines.figure_of(
            results,
            found,
            name="tasks-end",
            title=f"{judged.title} at the end of each task",
            caption=(
                "Share of right predictions on what each task is tested on, when it ends. "
                f"{lines.told(results, few=_INTERVAL)}; n = {_counts(found)}. {_chance_told(results)}"
            ),
            alt=f"Line chart of {judged.accuracy} by task, one line an arm.",
            named=judged.title,
            short="At the end",
            level=_chance(results, cell),
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
    columns = len(panels) if len(panels) <= _IN_A_ROW else 3

    def draw(figure: FigureBase) -> None:
        grid = axes.panels(figure, [panel.title for panel in panels], columns=columns, ylabel="")
        handles: list[Artist] = []
        for ax, (panel, found) in zip(grid, panels.items(), strict=True):
            own = _draw_lines(ax, results, found, scale=panel.scale)
            # Bands of few seeds reach further than the numbers can.
            axes.same_scale([ax], low=0.0, high=panel.most)
            handles = max(handles, own, key=len)
        axes.legend_of_panels(figure, handles)

    told = " ".join(panel.told for panel in panels)
    yield Drawing(
        name="health",
        title="The units at the end of each task",
        caption=(
            f"{told} Over all layers' units, each layer with as many votes as it has units. {_bands(results)}; "
            f"n = {_counts(next(iter(panels.values())))}. A symptom, not a verdict."
        ),
        alt="Small line charts by task, one line an arm.",
        size=axes.panels_size(len(panels), columns=columns, high=2.3),
        narrow=axes.narrow_panels(len(panels)),
        draw=draw,
    )


def renewals(results: Results, cell: str) -> Iterator[Drawing]:
    """How many units each arm renews in each task."""
    found = _of_arms(results, lambda arm: renewed_by_task(results, cell, arm))
    found = {arm: own for arm, own in found.items() if any(map(any, own.values()))}
    if found:
        yield _small(
            results,
            found,
            name="renewals-by-task",
            title="Renewed units, task by task",
            caption=(
                f"Units that a trial renewed in each task. {_bands(results)}; n = {_counts(found)}. Arms that renewed "
                "nothing are left out."
            ),
            of="renewed units",
            ylabel="Units renewed in a task",
        )


def probes(results: Results, cell: str) -> Iterator[Drawing]:
    """What each arm's network can still learn when a task ends, where the study asked."""
    found = _of_arms(results, lambda arm: probed(results, cell, arm))
    if found:
        yield _small(
            results,
            found,
            name="probes",
            title="What the network can still learn",
            caption=(
                "Fresh-probe gap at the end of each task: the loss that a copy of the network has left after "
                "diagnostics.probe_steps steps on the task's test images with shuffled labels, minus that of a network "
                f"with fresh weights. Above 0: it learns worse than a fresh one. {_bands(results)}; "
                f"n = {_counts(found)}."
            ),
            of="the fresh-probe gap",
            ylabel="Fresh-probe gap",
            signed=True,
        )


def _small(
    results: Results,
    found: Mapping[str, ByTask],
    *,
    name: str,
    title: str,
    caption: str,
    of: str,
    ylabel: str,
    signed: bool = False,
) -> Drawing:
    """A number that trials are not judged by: lines in one frame, from 0 on or on both sides of it."""

    def draw(figure: FigureBase) -> None:
        ax = figure.add_subplot()
        handles = _draw_lines(ax, results, found)
        if signed:
            ax.axhline(0.0, color=INK, linewidth=0.8)
        else:
            ax.set_ylim(bottom=0)
        ax.set_ylabel(ylabel)
        axes.legend_above(ax, handles)

    return Drawing(
        name=name,
        title=title,
        caption=caption,
        alt=f"Line chart of {of} by task, one line an arm.",
        size=(WIDE[0], 3.0),
        narrow=(PHONE, 3.0),
        draw=draw,
    )


def _chance_told(results: Results) -> str:
    """What stands in a caption of the level of chance."""
    if isinstance(results.study.stream, ClassIncremental):
        return "What chance reaches falls with each task, in which there are more classes."
    return f"{'Dotted' if many_arms(results) else 'Dashed'}: what chance reaches."


def _chance(results: Results, cell: str) -> float | None:
    """The level of chance in percent; None where it is another in each task, or nothing."""
    if isinstance(results.study.stream, ClassIncremental):
        return None
    shares = (trial.majority_share for trial in results.trials_in(cell))
    return next((100 * share for share in shares if share is not None), None)


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


def _draw_lines(
    ax: Axes, results: Results, found: Mapping[str, ByTask], *, scale: float = 1.0
) -> list[Artist]:
    """Means over the tasks, a line an arm; with their intervals where arms are few."""
    means = lines.intervals(found, scale=scale, shown=not many_arms(results))
    drawn = axes.lines_in_bands(ax, results, means)
    lines.task_axis(ax, means)
    return list(drawn.values())
