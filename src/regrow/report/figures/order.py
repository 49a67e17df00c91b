"""The figures of a report in their order: a new one is entered here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from regrow.report.drawing import MANY_CELLS, Drawing, file_name
from regrow.report.figures import (
    curves,
    distribution,
    filter_map,
    gains,
    grafting,
    heat_map,
    invalid,
    layers,
    networks,
    rates,
    renewals,
    sorted_seeds,
    tasks,
)
from regrow.report.sweep.panels import Panel
from regrow.report.sweep.panels import panels as sweep_panels
from regrow.study.results import Results

_OF_PANEL: Final = (heat_map.figures, sorted_seeds.held_back)

_OF_CELL: Final[Sequence[Callable[[Results, str], Iterable[Drawing]]]] = (
    tasks.accuracy,
    tasks.at_end,
    sorted_seeds.figures,
    tasks.health,
    tasks.probes,
    tasks.renewals,
    distribution.figures,
    curves.figures,
    renewals.figures,
    layers.overlap,
    filter_map.figures,
    networks.figures,
    grafting.shares,
    grafting.distances,
    invalid.figures,
    layers.entropy,
)

_OF_MANY_CELLS: Final = (sorted_seeds.figures,)


def drawings(results: Results, panels: Sequence[Panel] | None = None) -> tuple[Drawing, ...]:
    """All figures of a report: of a sweep's panels, of the study, of each cell, which a large sweep has not."""
    if not results.trials:
        return ()
    swept = sweep_panels(results) if panels is None else panels
    found = [
        one for panel in swept for kind in _OF_PANEL for one in _of(panel.key, kind(results, panel))
    ]
    if not results.large:
        found += [*rates.figures(results), *gains.figures(results)]
        own = _OF_MANY_CELLS if len(results.cells) > MANY_CELLS else _OF_CELL
        found += [
            one for cell in results.cells for kind in own for one in _of(cell, kind(results, cell))
        ]
    return _named_apart(found)


def _of(whole: str, found: Iterable[Drawing]) -> Iterable[Drawing]:
    """Figures as those of a cell or a panel."""
    return (replace(drawing, name=f"{whole}-{drawing.name}", of=whole) for drawing in found)


def _named_apart(found: Iterable[Drawing]) -> tuple[Drawing, ...]:
    """Make the names fit for every file system, and number those that then are equal."""
    taken: set[str] = set()
    named: list[Drawing] = []
    for drawing in found:
        plain = file_name(drawing.name)
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        named.append(replace(drawing, name=name))
    return tuple(named)
