"""How many filters have next to no weights, epoch by epoch.

Source: Meng et al., "Filter Grafting for Deep Neural Networks", CVPR 2020, Figure 5. https://arxiv.org/abs/2001.05868
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.artist import Artist
from matplotlib.figure import FigureBase

from regrow.report.drawing import Drawing
from regrow.report.figures import axes
from regrow.report.weights import counted, invalid_series, seen_layers
from regrow.study.results import Results
from regrow.study.views import BELOW


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """The share of invalid filters, one small panel a threshold, one line an arm; where weights were looked at."""
    if not seen_layers(results, cell, results.entropies):
        return
    yield Drawing(
        name="invalid",
        title="Invalid filters",
        caption=(
            "Share of the filters whose l1 norm is below a threshold after every epoch, over all convolutions that do "
            "not make the output, mean over a trial's networks; panels have scales of their own. Line: mean, band: one "
            f"standard deviation over n = {counted(results, cell, results.carried)} seeds."
        ),
        alt="Line charts of the share of filters with small weights by epoch, one panel a threshold, one line an arm.",
        size=axes.panels_size(1, columns=1),
        narrow=axes.narrow_panels(len(BELOW)),
        kept=True,
        draw=partial(_draw, results, cell),
    )


def _draw(results: Results, cell: str, figure: FigureBase) -> None:
    titles = [f"l1 < {threshold}" for threshold in BELOW.values()]
    handles: dict[str, Artist] = {}
    grid = axes.panels(figure, titles, columns=len(titles), ylabel="Invalid filters (%)")
    for place, ax in enumerate(grid):
        found = {arm.label: _percent(results, cell, arm.label, place) for arm in results.study.arms}
        found = {arm: series for arm, series in found.items() if series}
        handles |= axes.lines_in_bands(ax, results, found)
        highest = max((high for own in found.values() for *_, high in own.values()), default=0.0)
        axes.epochs(ax, axes.last_epoch(results, cell) + 0.5)
        # Where no filter is invalid the line lies on the axis, and not in the middle of a scale of nothing.
        ax.set_ylim(0, max(1.08 * highest, 1.0))
        ax.locator_params(axis="y", nbins=5)
    axes.legend_of_panels(figure, list(handles.values()))


def _percent(results: Results, cell: str, arm: str, place: int) -> dict[int, axes.Ends]:
    series = invalid_series(results, cell, arm, place).items()
    ends = ((epoch, mean, sd or 0.0) for epoch, (mean, sd, _) in series)
    return {
        epoch: (100 * max(mean - sd, 0.0), 100 * mean, 100 * (mean + sd))
        for epoch, mean, sd in ends
    }
