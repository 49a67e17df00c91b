"""The best cell of a panel, chosen on one half of the seeds and measured on the other."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from regrow.report.compared import Against, between
from regrow.report.sweep.panel import Chosen, SweepCell
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.sweep import Sweep


def choose(
    results: Results, sweep: Sweep, cells: Sequence[SweepCell], against: Against
) -> tuple[Chosen, ...]:
    """Choose a cell on the seeds at even places, show it on the others; and the other way round.

    The largest of many means is too large by the picking alone. The seeds that did not pick say what the picked cell is
    worth.

    Args:
        against: What the chosen cell is compared with; chosen it is by the gain over the baseline.

    Returns:
        The choice of the seeds at even places of the study's list, counted from 0, then that of those at odd places.
        One is left out where its seeds have no pair yet.

    Edge cases:
        The largest mean gain wins; of equal ones the smaller value of the setting that the grid names first, then of
        the other. A cell with less than half as many pairs as the fullest is not chosen: its mean is too uncertain
        to be compared with the others.
    """
    seeds = results.study.seeds
    # By place and not by number: seeds may be any integers, and all of them even.
    halves: dict[Literal["even", "odd"], tuple[int, ...]] = {
        "even": seeds[0::2],
        "odd": seeds[1::2],
    }

    found: list[Chosen] = []
    for half, choosing in halves.items():
        cell = _largest(results, sweep, cells, choosing)
        if cell is None:
            continue
        held_back = halves["odd" if half == "even" else "even"]
        found.append(
            Chosen(
                half=half,
                cell=cell,
                choosing=choosing,
                held_back=held_back,
                before=between(results, cell.cell, sweep.arm, against, seeds=choosing),
                after=between(results, cell.cell, sweep.arm, against, seeds=held_back),
            )
        )
    return tuple(found)


def _largest(
    results: Results, sweep: Sweep, cells: Sequence[SweepCell], seeds: Sequence[int]
) -> SweepCell | None:
    gains: list[tuple[SweepCell, list[float]]] = []
    for cell in cells:
        arm = _trials(results, sweep.arm, cell, seeds)
        plain = _trials(results, sweep.baseline, cell, seeds)
        known = [
            mine - other
            # Only pairs: a seed that ended under one arm alone would shift the mean by how hard the seed is.
            for seed in arm.keys() & plain.keys()
            if (mine := arm[seed].test_accuracy) is not None
            and (other := plain[seed].test_accuracy) is not None
        ]
        gains.append((cell, known))
    fullest = max((len(known) for _, known in gains), default=0)
    allowed = [(cell, known) for cell, known in gains if known and 2 * len(known) >= fullest]
    if not allowed:
        return None
    across = sweep.first == sweep.x

    def worth(entry: tuple[SweepCell, list[float]]) -> tuple[float, float, float]:
        cell, known = entry
        first, second = (cell.x, cell.y) if across else (cell.y, cell.x)
        # Fractions of one test set whose sums disagree in their last bits are equal.
        return -round(statistics.fmean(known), 12), first, second

    return min(allowed, key=worth)[0]


def _trials(
    results: Results, label: str, cell: SweepCell, seeds: Sequence[int]
) -> dict[int, Trial]:
    """The trials of some seeds under one arm."""
    found = results.arm(cell.cell, label)
    return {seed: found[seed] for seed in seeds if seed in found}
