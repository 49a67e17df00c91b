"""How far networks that graft are apart, graft by graft."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from matplotlib.figure import FigureBase

from regrow.report.drawing import Drawing
from regrow.report.figures.axes import epochs, legend_above, line_in_band
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import arm_styles, arms_size
from regrow.report.weight_series import counted, distance_series
from regrow.study.results import Results


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The distance between partners right before each graft, one line an arm whose networks grafted."""
    every = {arm.label: distance_series(results, cell, arm.label) for arm in results.study.arms}
    series = {arm: own for arm, own in every.items() if own}
    if not series:
        return

    def draw(figure: FigureBase) -> None:
        ax = figure.add_subplot()
        styles = arm_styles(results)
        lines = [
            line_in_band(
                ax,
                list(own),
                [(min(values), statistics.fmean(values), max(values)) for values in own.values()],
                style=styles[arm],
                label=arm,
            )
            for arm, own in series.items()
        ]
        ax.set(xlabel="Epoch", ylabel="Distance between partners")
        epochs(ax, last_epoch(results, cell, arms=series) + 0.5)
        ax.set_ylim(bottom=0)
        legend_above(ax, handles=lines, labels=list(series))

    yield Drawing(
        name="distance",
        title="Distance between partners",
        caption=(
            "Distance between the weights of a network and its partner right before each graft, as a share of the mean "
            "of their lengths (no unit; about 1.41 for directions that have nothing in common), mean over the layers. "
            "Line: mean, band: smallest to largest over networks and "
            f"n = {counted(results, cell, results.grafts)} seeds."
        ),
        alt="Line chart of the distance between partners by epoch, one line an arm.",
        size=arms_size(results),
        draw=draw,
    )
