"""The numbers of a sweep, computed once from the stored trials; the best cell is chosen on one half of the seeds.

Called by `report/summary.py`; the panels go to the figures of sweeps, to `told` and to `tables`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import rankdata

from regrow.report.compared import Against, among, between
from regrow.report.findings import Comparison
from regrow.study.asked import Axis, Sweep
from regrow.study.results import Results
from regrow.study.statistics import PairedComparison, mean_of

Half = Literal["even", "odd"]


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """One cell of a panel."""

    cell: str  # its name
    x: float  # value of the setting across
    y: float  # value of the setting upwards
    comparison: Comparison  # the arm minus what it is compared with
    # Mean number of filters renewed per trial of the arm; None without a trial.
    renewed: float | None
    missing: int  # trials of the two arms that have not ended

    @property
    def numbers(self) -> PairedComparison:
        """The paired differences."""
        return self.comparison.numbers

    @property
    def gain(self) -> float | None:
        """Mean paired difference; None without a pair."""
        return self.comparison.numbers.mean_difference


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A cell that was chosen on some seeds, and what it gives on the others."""

    half: Half  # which half of the seeds chose, by their places in the study, counted from 0
    cell: SweepCell  # the cell
    choosing: tuple[int, ...]  # the seeds that chose it
    held_back: tuple[int, ...]  # the other seeds
    before: Comparison  # the comparison over the seeds that chose: too good by the choice
    after: Comparison  # the comparison over the seeds that were held back


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All cells of one combination of what is not swept."""

    name: str  # the combination, as in the names of cells; "base" where everything is swept
    arm: str  # label of the arm whose settings are varied
    versus: str  # label of the arm that it is compared with
    x: Axis  # the setting across
    y: Axis  # the setting upwards
    # Its cells, row by row from the smallest values; those without a trial are there, too.
    cells: tuple[SweepCell, ...]
    seeds: int  # seeds that the study asks for
    # Rank correlation of the cells' mean gains with the setting across; None where it is not defined.
    x_trend: float | None
    y_trend: float | None  # the same for the setting upwards
    # The cell that the seeds at even places choose by the gain over the baseline, then that of the others.
    chosen: tuple[Chosen, ...]

    @property
    def key(self) -> str:
        """A name of its own among the panels of a study, for files."""
        against = "" if self.against_baseline else f"-against-{self.versus}"
        return f"{self.name}{against}"

    @property
    def title(self) -> str:
        """The title of its section: what is not swept, as in the names of cells; else what is."""
        swept = f"{self.arm} over {self.y.setting} and {self.x.setting}"
        name = swept if self.name == "base" else self.name
        return name if self.against_baseline else f"{name}, against {self.versus}"

    @property
    def against_baseline(self) -> bool:
        """Whether the arm is compared with plain training and not with a control."""
        return all(cell.comparison.role == "baseline" for cell in self.cells)

    @property
    def measured(self) -> tuple[SweepCell, ...]:
        """The cells with at least one pair."""
        return tuple(cell for cell in self.cells if cell.gain is not None)

    @property
    def best(self) -> SweepCell | None:
        """The cell with the largest mean gain, the first of several; None without a pair."""
        return max(self.measured, key=lambda cell: cell.gain or 0.0, default=None)

    @property
    def missing(self) -> int:
        """Trials of the two arms that have not ended."""
        return sum(cell.missing for cell in self.cells)

    @property
    def mean_gain(self) -> float | None:
        """Mean of the cells' mean gains; None without any."""
        gains = [cell.gain for cell in self.cells if cell.gain is not None]
        return sum(gains) / len(gains) if gains else None

    def place(self, cell: SweepCell) -> str:
        """Where a cell is."""
        return f"{self.y.setting} {cell.y}, {self.x.setting} {cell.x}"


def panels(results: Results) -> tuple[Panel, ...]:
    """Compare the swept arm with the baseline, and with the controls that replay it, in every cell of a sweep."""
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


def halves(seeds: Sequence[int]) -> dict[Half, tuple[int, ...]]:
    """The seeds that choose and those that judge: by place and not by number, for all numbers may be even."""
    return {"even": tuple(seeds[0::2]), "odd": tuple(seeds[1::2])}


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's correlation, ties with their mean ranks; None below three pairs or where one side is constant."""
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
    worth: beside `against`, while it is chosen by the gain over the baseline. Without a pair nothing is chosen.
    """
    parts = halves(results.study.seeds)
    found: list[Chosen] = []
    for half, choosing in parts.items():
        cell = _largest(results, sweep, cells, choosing)
        if cell is None:
            continue
        held_back = parts["odd" if half == "even" else "even"]
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
    """The largest mean gain; of equal ones the smaller value of what the grid names first, then of the other."""
    gains: list[tuple[SweepCell, list[float]]] = []
    for cell in cells:
        arm = among(results, cell.cell, sweep.arm, seeds)
        plain = among(results, cell.cell, sweep.baseline, seeds)
        known = [
            mine - other
            # Only pairs: a seed that ended under one arm alone would shift the mean by how hard the seed is.
            for seed in arm.keys() & plain.keys()
            if (mine := arm[seed].test_accuracy) is not None
            and (other := plain[seed].test_accuracy) is not None
        ]
        gains.append((cell, known))
    # The mean of a cell with less than half the pairs of the fullest is too uncertain to be compared.
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
