"""Which filters were in the network, and which were out of it, through the training of one trial."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from regrow.report import wording
from regrow.report.figures.axes import nothing_yet, shortened, shown, whole_numbers
from regrow.report.figures.dropping import dropping_arms, first_dropping, times
from regrow.report.figures.style import INK, NARROW, QUIET, canvas, house_style
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.views import Drop

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW: Final = 0.011  # inches: two pixels of the PNG
_LABEL: Final = 0.15  # inches between the names of two layers
_LETTERS: Final = 20
"""Of a layer's name that are shown."""

_DARK: Final = "#3b4a7a"


def plot_filter_map(
    results: Results, cell: str, *, arm: str | None = None, ax: Axes | None = None
) -> tuple[Figure, Axes]:
    """Draw one row a filter, by layer, dark while the filter is out of the network.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label; the first that took any filter out if None.
        ax: Axes to draw into; a figure of its own without, as high as the filters need.

    Returns:
        The figure and the axes.

    Edge cases:
        The first seed with such a filter is drawn. Names of layers too low to carry one are left out.
    """
    from matplotlib.colors import ListedColormap

    with house_style():
        label = arm or next(iter(dropping_arms(results, cell)), None)
        trial = None if label is None else first_dropping(results, cell, label)
        layers = {} if trial is None else results.diagnostics.layers[trial.trial]
        height = min(max(1.2 + _ROW * sum(layers.values()), NARROW[1]), 9.0)
        figure, ax = canvas(ax, size=(NARROW[0], height))
        ax.set_xlabel("Epoch")
        ax.set_ylabel("Filter, by layer (number of filters)")
        ax.grid(visible=False)
        if trial is None or label is None:
            nothing_yet(ax, "No filter left the network")
            return figure, ax
        edges, rows = out_of_network(trial, layers, results.diagnostics.drops[trial.trial])
        ax.pcolormesh(
            edges, range(len(rows) + 1), rows, cmap=ListedColormap(["white", _DARK]), vmin=0,
            vmax=1, rasterized=True,
        )  # fmt: skip
        ax.set_xlim(0, edges[-1])
        ax.set_ylim(len(rows), 0)
        ax.set_title(f"{shown(label)}, seed {trial.seed}", loc="left")
        whole_numbers(ax.xaxis)
        _name_layers(ax, layers, room=height - 1.2)
    return figure, ax


def caption_filter_map(results: Results, cell: str, arm: str) -> str:
    """Say what `plot_filter_map` shows.

    Args:
        results: What was read.
        cell: The cell.
        arm: The arm's label.

    Returns:
        The caption, with n.
    """
    trial = first_dropping(results, cell, arm)
    if trial is None:
        return f"No filter left the network under {arm}."
    held = results.diagnostics
    drops = held.drops[trial.trial]
    filters = sum(held.layers[trial.trial].values())
    distinct = len({(drop.layer, drop.filter) for drop in drops})
    text = (
        f"One row a filter of {arm}, seed {trial.seed} (n = 1 trial): dark while the filter is out of the network. "
        f"Filters left {wording.count(len({drop.since for drop in drops}), 'time')}, {distinct} of "
        f"{wording.count(filters, 'filter')} at least once."
    )
    left = sum(drop.until is None for drop in drops)
    if left:
        text += (
            f" {wording.count(left, 'filter')} never came back: the training ended before, and half an epoch more is "
            "drawn."
        )
    return text


def out_of_network(
    trial: Trial, layers: Mapping[str, int], drops: Sequence[Drop]
) -> tuple[list[float], list[list[int]]]:
    """When each filter was out of the network.

    Args:
        trial: The trial.
        layers: Its layers' numbers of filters, in the network's order.
        drops: Its drops.

    Returns:
        Times at which any filter left or came back, from 0 to the end (where some never came back, half an epoch
        more), in epochs; and for each filter of each layer
        one number an interval between them, 1 = out.
    """
    spans = [(drop, *times(trial, drop)) for drop in drops]
    last = float(trial.epochs or 1)
    edges = sorted({0.0, last, *(time for _, *both in spans for time in both)})
    starts = itertools.accumulate(layers.values(), initial=0)
    first = dict(zip(layers, starts, strict=False))
    rows = [[0] * (len(edges) - 1) for _ in range(sum(layers.values()))]
    for drop, start, end in spans:
        row = rows[first[drop.layer] + drop.filter]
        for place, (left, right) in enumerate(itertools.pairwise(edges)):
            if start <= left and right <= end:
                row[place] = 1
    return edges, rows


def _name_layers(ax: Axes, layers: Mapping[str, int], *, room: float) -> None:
    """A line between two layers, and a name for each that has room for one."""
    inches = room / sum(layers.values())
    ticks: list[float] = []
    names: list[str] = []
    base = 0
    for layer, filters in layers.items():
        middle = base + filters / 2
        if not ticks or (middle - ticks[-1]) * inches >= _LABEL:
            ticks.append(middle)
            names.append(f"{shown(shortened(layer, _LETTERS)).strip()} ({filters})")
        base += filters
        ax.axhline(base, color=QUIET, lw=0.5)
    ax.set_yticks(ticks, names)
    ax.tick_params(axis="y", length=0, labelcolor=INK)
