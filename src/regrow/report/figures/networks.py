"""How the accuracy of each network of a trial grows beside their mean."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Final

from matplotlib.figure import FigureBase

from regrow.report.drawing import Drawing
from regrow.report.figures import axes
from regrow.report.figures.style import FAINT, by_depth
from regrow.report.weights import counted, gathered
from regrow.study.results import Results

_COLUMNS: Final = 3
_LINES: Final = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The test accuracy of each network, one panel an arm that trains several."""
    every = {arm.label: network_curves(results, cell, arm.label) for arm in results.study.arms}
    curves = {arm: own for arm, own in every.items() if own}
    if not curves:
        return
    last = axes.last_epoch(results, cell, arms=curves)

    def draw(figure: FigureBase) -> None:
        numbers = range(max(number for own in curves.values() for number in own) + 1)
        colours = by_depth(numbers)
        grid = axes.panels(figure, list(curves), columns=_COLUMNS, ylabel="Test accuracy (%)")
        for ax, own in zip(grid, curves.values(), strict=True):
            common = sorted(set.intersection(*(set(curve) for curve in own.values())))
            mean = [statistics.fmean(curve[epoch] for curve in own.values()) for epoch in common]
            # Broad and below: networks that were just grafted lie on top of each other.
            ax.plot(common, mean, color=FAINT, lw=5, zorder=2)
            for number, curve in own.items():
                ax.plot(
                    list(curve), list(curve.values()), color=colours[number],
                    ls=_LINES[number % len(_LINES)], lw=1.2, zorder=3,
                )  # fmt: skip
            axes.epochs(ax, last + 0.5)
        axes.same_scale(grid, low=0.0, high=101.0)
        handles = [
            grid[0].plot(
                [], [], color=colours[number], ls=_LINES[number % len(_LINES)], lw=1.6,
                label=f"network {number}",
            )[0]
            for number in numbers
        ]  # fmt: skip
        handles += grid[0].plot([], [], color=FAINT, lw=5, label="their mean")
        axes.legend_of_panels(figure, handles)

    yield Drawing(
        name="networks",
        title="Each network beside the mean",
        caption=(
            "Test accuracy of each network of a trial over the epochs, mean over "
            f"n = {counted(results, cell, results.partners)} seeds, and the mean of the networks, by which "
            "the trial is judged. Where two networks were grafted right before they were tested, they differ in "
            "little."
        ),
        alt="Line charts of test accuracy by epoch, one panel an arm, one line a network.",
        size=axes.panels_size(len(curves), columns=_COLUMNS),
        narrow=axes.narrow_panels(len(curves)),
        kept=True,
        draw=draw,
    )


def network_curves(results: Results, cell: str, arm: str) -> dict[int, dict[int, float]]:
    """Network of an arm to epoch to accuracy in percent, mean over the trials that reached that epoch."""
    values = gathered(
        ((partner.number, epoch), 100 * accuracy)
        for _, partners in results.of_arm(cell, arm, results.partners)
        for partner in partners
        for epoch, accuracy in partner.accuracies.items()
    )
    found: dict[int, dict[int, float]] = {}
    for (number, epoch), own in values.items():
        found.setdefault(number, {})[epoch] = statistics.fmean(own)
    return found
