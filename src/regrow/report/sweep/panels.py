"""The numbers of a sweep, computed once from the stored trials; the best cell is chosen on one half of the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from scipy.stats import rankdata

from regrow.report.compared import Against, between
from regrow.report.sweep.panel import Chosen, Panel, SweepCell
from regrow.study.records import Trial
from regrow.study.results import Results
from regrow.study.statistics import mean_of
from regrow.study.sweep import Sweep


def panels(results: Results) -> tuple[Panel, ...]:
    """Compare the swept arm with the baseline, and with the controls that replay it, in every cell.

    Returns:
        One panel for each combination of what is not swept and each arm to compare with, the baseline first; none for
        a study that sweeps nothing.
    """
    sweep = results.sweep
    if sweep is None:
        return ()
    versus = [
        Against(sweep.baseline, "baseline"),
        *(Against(control, "control") for control in sweep.controls),
    ]
    return tuple(
        _panel(results, sweep, dict(point), against) for point in sweep.panels for against in versus
    )


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's correlation, ties with their mean ranks.

    Returns:
        -1 to 1; None below three pairs or where one side is constant.

    Examples:
        >>> rank_correlation([1.0, 2.0, 3.0], [1.0, 8.0, 9.0]), rank_correlation([1.0, 2.0, 3.0], [5.0, 5.0, 5.0])
        (1.0, None)
    """
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    ranks = [[float(rank) for rank in rankdata(values)] for values in (first, second)]
    return round(statistics.correlation(*ranks), 12)


def _panel(results: Results, sweep: Sweep, point: Mapping[str, object], against: Against) -> Panel:
    cells = tuple(
        _cell(results, sweep, {**point, sweep.x.key: x, sweep.y.key: y}, (x, y), against)
        # Row by row from the smallest values: the figures and tables count on this order.
        for y in sweep.y.values
        for x in sweep.x.values
    )
    gains = [(cell, cell.gain) for cell in cells if cell.gain is not None]
    means = [gain for _, gain in gains]
    return Panel(
        name=",".join(f"{key}={value}" for key, value in point.items()) or "base",
        arm=sweep.arm,
        versus=against.label,
        x=sweep.x,
        y=sweep.y,
        cells=cells,
        seeds=len(results.study.seeds),
        x_trend=rank_correlation([cell.x for cell, _ in gains], means),
        y_trend=rank_correlation([cell.y for cell, _ in gains], means),
        chosen=_choose(results, sweep, cells, against),
    )


def _cell(
    results: Results,
    sweep: Sweep,
    values: Mapping[str, object],
    at: tuple[float, float],
    against: Against,
) -> SweepCell:
    name = ",".join(f"{key}={values[key]}" for key in results.study.grid)
    arm, other = results.arm(name, sweep.arm), results.arm(name, against.label)
    return SweepCell(
        cell=name,
        x=at[0],
        y=at[1],
        comparison=between(results, name, sweep.arm, against),
        renewed=mean_of(trial.renewed for trial in arm.values()),
        missing=2 * len(results.study.seeds) - len(arm) - len(other),
    )


def _choose(
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
