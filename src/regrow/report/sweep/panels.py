"""The numbers of a sweep, computed once from the stored trials."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from scipy.stats import rankdata

from regrow.report.compared import Against, between
from regrow.report.sweep.chosen import choose
from regrow.report.sweep.panel import Panel, SweepCell
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
        chosen=choose(results, sweep, cells, against),
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
