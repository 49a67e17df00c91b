"""How much the filters of each layer overlap, epoch by epoch."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from regrow.report import wording
from regrow.report.figures.axes import nothing_yet, shortened, shown, whole_numbers
from regrow.report.figures.dropping import HELD, phases
from regrow.report.figures.renewing import even
from regrow.report.figures.scale import last_epoch
from regrow.report.figures.style import WIDE, arm_styles, canvas, house_style, panels
from regrow.report.results import Results

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS: Final = 24
"""Layers drawn at most: a deeper network's are taken at even distances from its first to its last."""

_COLUMNS: Final = 4
_SHADE: Final = "#e2e2e2"
_PANEL_HEIGHT: Final = 1.55  # inches


def plot_overlap(
    results: Results, cell: str, *, layer: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw the mean overlap of each layer's filters over the epochs, one small panel a layer.

    Args:
        results: What was read.
        cell: The cell.
        layer: The layer to draw into `ax`; the first if None.
        ax: Axes for one panel; without, a figure of its own with a panel for each layer.

    Returns:
        The figure and the axes; of several panels the lower left one.

    Edge cases:
        More than 24 layers: 24 of them, at even distances. One seed: no band.
    """
    with house_style():
        layers = shown_layers(results, cell)
        if ax is not None or len(layers) < 2:
            figure, ax = canvas(ax, size=(WIDE[0], 2.6))
            name = layer or next(iter(layers), None)
            handles = [] if name is None else _panel(ax, results, cell, name)
            ax.set_xlabel("Epoch")
            ax.set_ylabel("Mean overlap")
            if name is None:
                nothing_yet(ax, "No overlap was measured")
            elif handles:
                ax.set_title(shown(name), loc="left", fontsize=8)
                ax.legend(handles=handles, loc="best")
            return figure, ax
        columns = min(_COLUMNS, len(layers))
        whole = -(-len(layers) // columns)
        figure, grid = panels(
            len(layers), columns=columns, size=(WIDE[0], 0.65 + _PANEL_HEIGHT * whole)
        )
        handles: list[Artist] = []
        for index, (own, name) in enumerate(zip(grid, layers, strict=True)):
            drawn = _panel(own, results, cell, name)
            handles = drawn if len(drawn) > len(handles) else handles
            # At 8 points a letter is about 4.5 points wide, and an axis with its numbers takes 38.
            number = f" ({layers[name]})"
            room = int((72 * WIDE[0] / columns - 38) / 4.5) - len(number)
            own.set_title(f"{shown(shortened(name, room))}{number}", loc="left", fontsize=8)
            if index % columns == 0:
                own.set_ylabel("Mean overlap")
            if index + columns >= len(layers):
                own.set_xlabel("Epoch")
        figure.legend(handles=handles, loc="outside upper left", ncols=6)
        return figure, grid[columns * (whole - 1)]


def caption_overlap(results: Results, cell: str) -> str:
    """Say what `plot_overlap` shows.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        The caption, with n.
    """
    measured = results.diagnostics.overlaps
    counts = ", ".join(
        f"{n} ({arm.label})"
        for arm in results.study.arms
        if (n := sum(t.trial in measured for t in results.arm(cell, arm.label).values()))
    )
    text = (
        "Inter-filter overlap (sum of |cosine| with the layer's other filters over their number; no unit), averaged "
        "over the filters in the network after every epoch; panels have scales of their own, the number of filters "
        f"stands in brackets. Line: mean, band: one standard deviation over n = {counts} seeds."
    )
    if phases(results, cell):
        text += (
            " Grey: filters are out of the network; a layer is then what is left of it, without them as filters and as "
            "inputs."
        )
    every, drawn = _layers(results, cell), shown_layers(results, cell)
    if len(drawn) < len(every):
        text += f" {len(drawn)} of {wording.count(len(every), 'layer')} are drawn."
    return text


def shown_layers(results: Results, cell: str) -> dict[str, int]:
    """The layers whose overlap is drawn.

    Args:
        results: What was read.
        cell: The cell.

    Returns:
        Number of filters by layer, in the network's order; at most 24.
    """
    every = list(_layers(results, cell).items())
    if len(every) > PANELS:
        every = [every[round(place)] for place in even(0, len(every) - 1, PANELS)]
    return dict(every)


def overlap_series(
    results: Results, cell: str, arm: str, layer: str
) -> dict[int, tuple[float, float | None, int]]:
    """The overlap of one layer of an arm over the seeds.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.
        layer: The layer.

    Returns:
        Epoch to mean, standard deviation (None for a single seed) and number of seeds.
    """
    measured = results.diagnostics.overlaps
    curves = [
        measured.get(trial.trial, {}).get(layer, {}) for trial in results.arm(cell, arm).values()
    ]
    found: dict[int, tuple[float, float | None, int]] = {}
    for epoch in sorted({epoch for curve in curves for epoch in curve}):
        values = [curve[epoch] for curve in curves if epoch in curve]
        spread = statistics.stdev(values) if len(values) > 1 else None
        found[epoch] = (statistics.fmean(values), spread, len(values))
    return found


def _layers(results: Results, cell: str) -> dict[str, int]:
    held = results.diagnostics
    found: dict[str, int] = {}
    for trial in results.trials:
        if trial.cell == cell and trial.trial in held.overlaps:
            for layer, filters in held.layers.get(trial.trial, {}).items():
                found.setdefault(layer, filters)
    return found


def _panel(ax: Axes, results: Results, cell: str, layer: str) -> list[Artist]:
    from matplotlib.patches import Patch

    handles: list[Artist] = []
    for label, style in arm_styles(results).items():
        series = overlap_series(results, cell, label, layer)
        if not series:
            continue
        # Steps, for a value holds from the end of its epoch on; the last one for half an epoch more, to be seen.
        held = [*series.items(), (max(series) + HELD, series[max(series)])]
        times = [time for time, _ in held]
        means = [mean for _, (mean, _, _) in held]
        low = [mean - (spread or 0.0) for _, (mean, spread, _) in held]
        high = [mean + (spread or 0.0) for _, (mean, spread, _) in held]
        ax.fill_between(
            times, low, high, color=style.colour, alpha=0.16, lw=0, zorder=2, step="post"
        )
        (line,) = ax.plot(
            times, means, color=style.colour, ls=style.line, lw=1.3, zorder=3,
            drawstyle="steps-post", label=shown(label),
        )  # fmt: skip
        handles.append(line)
    out = phases(results, cell)
    for start, end in out:
        ax.axvspan(start, end, color=_SHADE, lw=0, zorder=0)
    if out and handles:
        handles.append(Patch(facecolor=_SHADE, label="filters out of the network"))
    ax.set_xlim(0, last_epoch(results, cell) + HELD)
    whole_numbers(ax.xaxis)
    ax.locator_params(axis="y", nbins=5)
    return handles
