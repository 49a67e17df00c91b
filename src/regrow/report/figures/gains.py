"""The differences from the baseline in every cell of a grid, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.artist import Artist
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import PHONE, WIDE, Drawing
from regrow.report.figures.axes import (
    is_narrow,
    legend_above,
    legend_of_panels,
    shortened,
    shown,
)
from regrow.report.figures.style import INK, arm_styles
from regrow.report.findings import StudySummary
from regrow.report.judged import judged_by
from regrow.report.summary import summarise
from regrow.study.results import Results

_ROW = 0.17  # inches for one arm of one cell
_LETTERS = 28  # of a setting of a cell on a narrow screen


def figures(results: Results) -> Iterator[Drawing]:
    """The mean paired difference of every arm from the baseline, one group of rows a cell, where there are several."""
    arms = [arm.label for arm in results.study.arms if arm.label != results.study.baseline]
    if len(results.cells) < 2 or not arms:
        return
    found = summarise(results)
    pairs = [
        comparison.numbers.n
        for cell in found.cells
        for comparison in cell.comparisons
        if comparison.role == "baseline"
    ]
    n, judged = wording.span(pairs or [0]), judged_by(results.study.stream)
    noun = "pair" if n == "1" else "pairs"
    yield Drawing(
        name="gains",
        place="overview",
        title="Difference from the baseline in every cell",
        caption=(
            f"Mean paired difference of {judged.accuracy} from {results.study.baseline} in every cell, with its 95 % "
            f"bootstrap interval; n = {n} {noun} each. {'Left' if judged.unit.lower else 'Right'} of 0: better "
            "than the baseline."
        ),
        alt="Chart of mean differences with intervals, one group of rows a cell.",
        size=(WIDE[0], 1.1 + _ROW * (len(arms) + 0.8) * len(found.cells)),
        narrow=(PHONE, 1.6 + max(_ROW * (len(arms) + 0.8), 0.5) * len(found.cells)),
        kept=True,
        draw=partial(_draw, results, found, arms),
    )


def _draw(results: Results, found: StudySummary, arms: list[str], figure: FigureBase) -> None:
    ax = figure.add_subplot()
    styles = arm_styles(results)
    judged = judged_by(results.study.stream)
    scale = judged.unit.scale
    step = len(arms) + 0.8
    handles: list[Artist] = []
    for index, arm in enumerate(arms):
        known: dict[float, float] = {}
        colour = styles[arm].colour
        for place, cell in enumerate(found.cells):
            comparison = cell.comparison(arm, cell.baseline)
            pair = None if comparison is None else comparison.numbers
            if pair is None or pair.mean_difference is None:
                continue
            known[step * place + index] = scale * pair.mean_difference
            if pair.low is not None and pair.high is not None:  # a single pair has no interval
                ends = scale * pair.low, scale * pair.high
                ax.hlines(step * place + index, *ends, color=colour, lw=1.6)
        handles += ax.plot(
            list(known.values()), list(known), ls="none", marker=styles[arm].marker, ms=5,
            mfc=colour, mec="white", mew=0.5, label=shown(arm),
        )  # fmt: skip
    narrow = is_narrow(figure)
    names = [shown(cell.cell).strip() for cell in found.cells]
    if narrow:
        # The name of a cell has its settings one after the other: here one below the other, cut off at their front,
        # where those of one recipe are alike: long ones would leave no room for the differences.
        names = [
            ",\n".join(shortened(each, _LETTERS) for each in name.split(",")) for name in names
        ]
    ax.set_yticks(
        [step * place + (len(arms) - 1) / 2 for place in range(len(found.cells))],
        names,
    )
    ax.set_ylim(step * len(found.cells) - 0.9, -0.9)
    ax.axvline(0.0, color=INK, lw=0.8)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    baseline = shown(results.study.baseline).strip()
    told = f"Difference of {judged.accuracy} from {baseline}{judged.unit.of_drawn_difference}"
    ax.set_xlabel(told.replace(" from", "\nfrom").replace(" (", "\n(") if narrow else told)
    ax.set_ylabel("" if narrow else "Cell of the grid")
    if narrow:  # as wide as the whole figure: names take half of it, and the axes are narrower than a legend
        legend_of_panels(figure, handles)
    else:
        legend_above(ax, handles)
