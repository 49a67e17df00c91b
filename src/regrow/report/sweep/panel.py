"""What a sweep found, as frozen records: a cell, a choice on one half of the seeds, a panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regrow.report.findings import Comparison
from regrow.study.statistics import PairedComparison
from regrow.study.sweep import Axis


@dataclass(frozen=True, kw_only=True)
class SweepCell:
    """One cell of a panel.

    Args:
        cell: Its name.
        x: Value of the setting across.
        y: Value of the setting upwards.
        comparison: The arm minus what it is compared with.
        renewed: Mean number of filters renewed per trial of the arm; None without a trial.
        missing: Trials of the two arms that have not ended.
    """

    cell: str
    x: float
    y: float
    comparison: Comparison
    renewed: float | None
    missing: int

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
    """A cell that was chosen on some seeds, and what it gives on the others.

    Args:
        half: Which half of the seeds chose, by their places in the study, counted from 0.
        cell: The cell.
        choosing: The seeds that chose it.
        held_back: The other seeds.
        before: The comparison over the seeds that chose: too good by the choice.
        after: The comparison over the seeds that were held back.
    """

    half: Literal["even", "odd"]
    cell: SweepCell
    choosing: tuple[int, ...]
    held_back: tuple[int, ...]
    before: Comparison
    after: Comparison


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All cells of one combination of what is not swept.

    Args:
        name: The combination, as in the names of cells; "base" where everything is swept.
        arm: Label of the arm whose settings are varied.
        versus: Label of the arm that it is compared with.
        x: The setting across.
        y: The setting upwards.
        cells: Its cells, row by row from the smallest values; those without a trial are there, too.
        seeds: Seeds that the study asks for.
        x_trend: Rank correlation of the cells' mean gains with the setting across; None where it is not defined.
        y_trend: The same for the setting upwards.
        chosen: The cell that the seeds at even places choose by the gain over the baseline, then that of the others.
    """

    name: str
    arm: str
    versus: str
    x: Axis
    y: Axis
    cells: tuple[SweepCell, ...]
    seeds: int
    x_trend: float | None
    y_trend: float | None
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
