"""What stands around the data, so that figures can be laid side by side: axes, labels, legends, small panels.

Called by every figure; `report/figures/style.py` has colours and marks.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE
from regrow.report.figures.style import FAILED, INK, arm_styles
from regrow.report.judged import judged_by
from regrow.study.results import Results
from regrow.study.statistics import FAILED_MARGIN, t_interval

Ends = tuple[float, float, float]  # the low end of a number, its middle and its high end

Series = Mapping[int, Ends] | Mapping[float, Ends]
"""Places from left to right, each with a number there."""

_MANY_TIMES: Final = 30.0


def shown(label: str) -> str:
    """Write an arm's or a layer's name so that matplotlib draws it as it is: no mathematics, not hidden."""
    escaped = " ".join(label.split()).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def shortened(path: str, letters: int) -> str:
    """Cut a name at its front, where the paths of a network, and the names of many arms, are alike."""
    return path if len(path) <= letters else f"\N{HORIZONTAL ELLIPSIS}{path[1 - letters :]}"


def legend_above(ax: Axes, handles: Sequence[Artist], *, title: str | None = None) -> None:
    """Set the legend above the axes, where it hides no data, in as few rows as fit; names have `title` in common."""
    # The layout will widen the axes a little over their first position.
    share = min(1.1 * ax.get_position().width, 0.9)
    ax.legend(
        handles=list(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.02),
        ncols=_columns(handles, width=share * _points(ax.figure)),
        columnspacing=1.4,
        handletextpad=0.6,
        title=title,
        title_fontsize=8,
        alignment="left",
    )


def legend_of_panels(figure: FigureBase, handles: Sequence[Artist]) -> None:
    """Set one legend above all panels, in as few rows as fit."""
    columns = _columns(handles, width=0.95 * _points(figure))
    figure.legend(handles=list(handles), loc="outside upper left", ncols=columns)


def _columns(handles: Sequence[Artist], *, width: float) -> int:
    return columns_that_fit([len(str(handle.get_label())) for handle in handles], width=width)


def columns_that_fit(lengths: Sequence[int], *, width: float) -> int:
    """The columns in which a legend's entries of so many letters, set column by column, fit in the fewest rows."""
    for columns in range(len(lengths), 1, -1):
        rows, more = divmod(len(lengths), columns)  # the first columns have one row more
        if -(-len(lengths) // (columns - 1)) == rows + bool(more):
            continue  # as few rows with fewer columns: the last entries would stand alone
        starts = [rows * column + min(column, more) for column in range(columns + 1)]
        longest = [max(lengths[start:stop]) for start, stop in pairwise(starts)]
        # At 8 points a letter is about 4.5 points wide, and a handle with its gaps 36.
        if sum(4.5 * letters + 36 for letters in longest) <= width:
            return columns
    return 1


def whole_numbers(*axes: Axis) -> None:
    """Let axes of counts have no tick between two whole numbers."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(nbins="auto", integer=True, steps=[1, 2, 5, 10]))


def epochs(ax: Axes, last: float) -> None:
    """Let the axis from left to right be that of the epochs, from 0 to the last."""
    ax.set_xlim(0, last)
    whole_numbers(ax.xaxis)


def panels_size(number: int, *, columns: int, high: float = 1.9) -> tuple[float, float]:
    """The size of a figure of small panels, each so many inches high with what is written around it."""
    return WIDE[0], 0.7 + high * -(-number // columns)


def narrow_panels(number: int, *, high: float = 1.9) -> tuple[float, float]:
    """The size of the same on a narrow screen, where two stand side by side and the legend takes more rows."""
    return PHONE, 1.2 + high * -(-number // 2)


def inches(figure: FigureBase) -> float:
    """The width of a figure, or of a part of one."""
    return _points(figure) / 72


def is_narrow(figure: FigureBase) -> bool:
    """Whether it is for a narrow screen, or one column of a paper."""
    return inches(figure) < (PHONE + WIDE[0]) / 2


def panels(
    figure: FigureBase, titles: Sequence[str], *, columns: int, ylabel: str, xlabel: str = "Epoch"
) -> list[Axes]:
    """Make small panels, one a title, named at the left and below alone; on a narrow figure two side by side."""
    columns = min(columns, len(titles), 2 if is_narrow(figure) else columns)
    grid: list[Axes] = []
    for place, title in enumerate(titles):
        ax = figure.add_subplot(-(-len(titles) // columns), columns, place + 1)
        ax.set_title(shown(title), loc="left", fontsize=8)
        ax.set_ylabel(ylabel if place % columns == 0 else "")
        ax.set_xlabel(xlabel if place + columns >= len(titles) else "")
        grid.append(ax)
    return grid


def same_scale(grid: Sequence[Axes], *, low: float, high: float) -> None:
    """Give panels one scale between two bounds, so that they can be compared by eye."""
    ends = [ax.get_ylim() for ax in grid]
    for ax in grid:
        ax.set_ylim(max(min(end[0] for end in ends), low), min(max(end[1] for end in ends), high))


def lines_in_bands(
    ax: Axes, results: Results, found: Mapping[str, Series], *, step: bool = False
) -> dict[str, Artist]:
    """Draw each arm's numbers with the band between their ends, marked or in steps; the lines by their arms."""
    styles = arm_styles(results)
    band: dict[str, Any] = {"step": "post"} if step else {}
    lines: dict[str, Artist] = {}
    for arm, series in found.items():
        style = styles[arm]
        look: dict[str, Any] = {"drawstyle": "steps-post"} if step else {"marker": style.marker}
        low, middle, high = zip(*series.values(), strict=True)
        ax.fill_between(
            list(series), low, high, color=style.colour, alpha=0.16, lw=0, zorder=2, **band
        )
        (lines[arm],) = ax.plot(
            list(series), middle, color=style.colour, ls=style.line, lw=1.4, ms=3.2,
            markevery=max(1, len(series) // 5), zorder=3, clip_on=False, label=shown(arm), **look,
        )  # fmt: skip
    return lines


def _points(figure: FigureBase) -> float:
    """The width of a figure, or of a part of one."""
    return 72 * figure.bbox.width / figure.dpi  # pyright: ignore[reportAttributeAccessIssue] # both kinds have them


def seed_order(results: Results, cell: str) -> list[int]:
    """The seeds from worst to best under the baseline; those that crashed there first, those that it lacks last."""
    baseline = results.arm(cell, results.study.baseline)
    judged = judged_by(results.study.stream)

    def place(seed: int) -> tuple[int, float]:
        trial = baseline.get(seed)
        if trial is None:
            return 2, 0.0
        found = judged.of(trial)
        return (0, 0.0) if found is None else (1, judged.unit.worth(found))

    return sorted(sorted({trial.seed for trial in results.trials_in(cell)}), key=place)


def last_epoch(results: Results, cell: str, *, arms: Collection[str] | None = None) -> int:
    """The longest training in a cell, of these arms or of all."""
    trials = [trial for trial in results.trials_in(cell) if arms is None or trial.arm in arms]
    # A trial that diverges renews in an epoch that it does not finish.
    renewed = [renewal.epoch for t in trials for renewal in results.renewals.get(t.trial, ())]
    return max([*(trial.epochs or 0 for trial in trials), *renewed], default=0)


def failed_line(results: Results, cell: str) -> float | None:
    """The accuracy at or below which a seed has failed: majority share plus two points; None without any."""
    shares = (trial.majority_share for trial in results.trials_in(cell))
    return next((share + FAILED_MARGIN for share in shares if share is not None), None)


def mean_in_interval(values: Sequence[float], *, scale: float = 1.0, interval: bool = True) -> Ends:
    """The ends of the mean's 95 % t interval with the mean between them; of one value, or unasked, the mean alone."""
    middle = statistics.fmean(values)
    low, high = (t_interval(values) if interval else None) or (middle, middle)
    return scale * low, scale * middle, scale * high


def quartiles(values: Sequence[float]) -> Ends:
    """Lower quartile, median and upper quartile, linear between order statistics."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def errors_axis(ax: Axes, values: Sequence[float], *, ends: Sequence[float] = ()) -> None:
    """Fit the y axis to errors, logarithmic where they differ much, and to ends that do not make them small."""
    known = [value for value in values if value > 0]
    if known and max(known) > _MANY_TIMES * min(known):
        ax.set_yscale("log")
        ax.set_ylim(min(known) / 1.5, 1.5 * max(known))
    else:
        top = max(known, default=1.0)
        ax.set_ylim(0.0, 1.06 * min(max(top, *ends), 1.5 * top) if ends else 1.06 * top)


def accuracy_axis(ax: Axes, results: Results, cell: str) -> list[Artist]:
    """Fit and label the y axis in the study's unit; the line at which seeds have failed, where there is one."""
    trials, judged = results.trials_in(cell), judged_by(results.study.stream)
    if judged.unit.lower:
        errors_axis(ax, [found for trial in trials if (found := judged.of(trial)) is not None])
        ax.set_ylabel(judged.title)
        return []
    line = failed_line(results, cell)
    values = [trial.test_accuracy for trial in trials if trial.test_accuracy is not None]
    low = min([*values, line or 0.0, 1.0])
    high = max([*values, line or 1.0])
    margin = 0.04 * max(high - low, 0.1)
    ax.set_ylim(100 * max(low - 2 * margin, -margin), 100 * min(high + margin, 1 + margin))
    ax.set_ylabel(f"{judged.title}{judged.unit.of_value}")
    if line is None:
        return []
    ax.axhspan(-100.0, 100 * line, color=FAILED, lw=0, zorder=0)
    label = f"failed: {wording.percent(line)} % or less"
    return [ax.axhline(100 * line, color=INK, lw=0.8, ls=(0, (2, 2)), zorder=1, label=label)]
