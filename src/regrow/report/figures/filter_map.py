"""Which filters were in the network, and which were out of it, through the training of one trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import FigureBase

from regrow.report import wording
from regrow.report.drawing import NARROW, Drawing, in_turn
from regrow.report.figures.axes import shortened, shown, whole_numbers
from regrow.report.figures.style import INK, QUIET
from regrow.report.weights import time_of
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.views import Drop

_ROW: Final = 0.011  # inches: two pixels of the PNG
_AROUND: Final = 1.2  # inches above and below the rows
_LABEL: Final = 0.15  # inches between the names of two layers
_LETTERS: Final = 20  # of a layer's name that are shown

_DARK: Final = "#3b4a7a"

HELD: Final = 0.5  # epochs for which what holds after the last one is drawn, to be seen


def figures(results: Results, cell: str) -> Iterator[Drawing]:
    """For each arm that took filters out of the network: its first such seed, a row a filter, dark while it is out."""
    dropping = (first_dropping(results, cell, arm.label) for arm in results.study.arms)
    for number, trial in enumerate(filter(None, dropping)):
        layers = results.layers[trial.trial]
        drops = results.drops[trial.trial]
        filters = sum(layers.values())
        distinct = len({(drop.layer, drop.filter) for drop in drops})
        text = (
            f"One row a filter of {trial.arm}, seed {trial.seed} (n = 1 trial): dark while the filter is out of the "
            f"network. Filters left {wording.count(len({drop.since for drop in drops}), 'time')}, {distinct} of "
            f"{wording.count(filters, 'filter')} at least once."
        )
        left = sum(drop.until is None for drop in drops)
        if left:
            text += (
                f" {wording.count(left, 'filter')} never came back: the training ended before, and half an epoch more "
                "is drawn."
            )
        height = min(max(_AROUND + _ROW * filters, NARROW[1]), 9.0)
        yield Drawing(
            name=f"filters-{trial.arm}",
            place=in_turn(number),
            title=f"Filters of {trial.arm} in and out of the network",
            caption=text,
            alt="Map of filters over epochs, one row a filter, dark while it is out of the network.",
            size=(NARROW[0], height),
            arm=trial.arm,
            as_printed=True,
            draw=partial(_draw, trial, layers, drops, height - _AROUND),
        )


def first_dropping(results: Results, cell: str, arm: str) -> Trial | None:
    """The trial of an arm's first seed that took any filter out of the network; None without one."""
    trials = (trial for trial, _ in results.of_arm(cell, arm, results.drops))
    return next((each for each in trials if each.trial in results.layers and each.epochs), None)


def times(trial: Trial, drop: Drop) -> tuple[float, float]:
    """When a filter left and came back, in epochs that had passed; one that never did half an epoch past the end."""
    end = (trial.epochs or 1) + HELD if drop.until is None else time_of(trial, drop.until)
    return time_of(trial, drop.since), end


def phases(results: Results, cell: str) -> list[tuple[float, float]]:
    """Starts and ends in epochs, in order, of the times in which any arm of a cell trained without some filters."""
    found = sorted(
        {
            times(trial, drop)
            for trial in results.trials_in(cell)
            if trial.epochs
            for drop in results.drops.get(trial.trial, ())
        }
    )
    joined: list[tuple[float, float]] = []
    for start, end in found:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def out_of_network(
    trial: Trial, layers: Mapping[str, int], drops: Sequence[Drop]
) -> tuple[list[float], list[list[int]]]:
    """The epochs at which any filter left or came back; for each filter 1 in the intervals between when it is out."""
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


def _draw(
    trial: Trial,
    layers: Mapping[str, int],
    drops: Sequence[Drop],
    room: float,
    figure: FigureBase,
) -> None:
    ax = figure.add_subplot()
    edges, rows = out_of_network(trial, layers, drops)
    ax.pcolormesh(
        edges, range(len(rows) + 1), rows, cmap=ListedColormap(["white", _DARK]), vmin=0, vmax=1,
        rasterized=True,
    )  # fmt: skip
    ax.set(xlim=(0, edges[-1]), ylim=(len(rows), 0))
    ax.set(xlabel="Epoch", ylabel="Filter, by layer (number of filters)")
    ax.set_title(f"{shown(trial.arm)}, seed {trial.seed}", loc="left")
    ax.grid(visible=False)
    whole_numbers(ax.xaxis)
    _name_layers(ax, layers, inches=room / len(rows))


def _name_layers(ax: Axes, layers: Mapping[str, int], *, inches: float) -> None:
    """A line between two layers, and a name for each that has room for one; a filter is so many inches high."""
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
