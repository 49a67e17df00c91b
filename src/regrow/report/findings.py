"""The numbers of the report as frozen records: an arm, a comparison, a cell, a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from regrow.report.judged import Judged
from regrow.report.several import Several
from regrow.report.unit import ACCURACY, ERROR, Unit
from regrow.study.records import ArmRecord
from regrow.study.statistics import FEWEST_PAIRS, ArmSummary, PairedComparison

if TYPE_CHECKING:
    from regrow.report.sweep.panels import Panel

Versus = Literal["baseline", "control"]
Outcome = Literal["gain", "harm", "unclear", "too few"]


@dataclass(frozen=True, kw_only=True)
class ArmNumbers(ArmRecord):
    """One arm in one cell: what was asked of it, and what came of it.

    Args:
        accuracy: Test accuracy over the seeds.
        expected: Trials that the study asks for.
        diverged: Trials that became non-finite.
        renewed: Mean number of filters renewed per trial.
        trials_renewed: Trials in which any filter was renewed.
        trials_dropped: Trials in which any filter left the network for a while.
        resting: Filters that were out of the network when their trial ended, over all trials.
        trials_resting: Trials that ended so.
        trials_grafted: Trials in which any network took a share of another's weights.
        restarts: Whole networks drawn anew, over all trials.
        nonfinite: Scores that were NaN or infinite, over all trials.
        seconds: Mean wall time of a trial.
        extra_time: Wall time per optimizer step relative to the baseline's over common seeds,
            minus 1.
        recipe_time: Wall time inside the recipe relative to the rest of the same trials.
    """

    accuracy: ArmSummary
    expected: int
    diverged: int
    renewed: float | None
    trials_renewed: int
    trials_dropped: int
    resting: int
    trials_resting: int
    trials_grafted: int
    restarts: int
    nonfinite: int
    seconds: float | None
    extra_time: float | None
    recipe_time: float | None

    @property
    def missing(self) -> int:
        """Trials that have not ended."""
        return self.expected - self.accuracy.n


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against another in one cell.

    Args:
        arm: The arm under test; or its networks as one, as `Several.name` calls them.
        versus: What it is compared with, called in the same way.
        role: What `versus` is to it.
        numbers: Differences are `arm` minus `versus`.
    """

    unit: ClassVar[Unit] = ACCURACY

    arm: str
    versus: str
    role: Versus
    numbers: PairedComparison

    @property
    def outcome(self) -> Outcome:
        """What may be said: gain or harm only when the interval excludes 0 and there are six pairs."""
        low, high = self.numbers.low, self.numbers.high
        if self.numbers.n < FEWEST_PAIRS or low is None or high is None:
            return "too few"
        if self.unit.is_better(low, high):
            return "gain"
        return "harm" if self.unit.is_worse(low, high) else "unclear"


@dataclass(frozen=True, kw_only=True)
class ErrorComparison(Comparison):
    """A comparison of errors, of which less is better."""

    unit: ClassVar[Unit] = ERROR


@dataclass(frozen=True, kw_only=True)
class CellSummary:
    """One cell of the grid.

    Args:
        cell: Its name, "base" without a grid.
        majority_share: Share of the commonest class in the test set; None if all trials crashed.
        baseline: The arm that the others are compared with.
        expected: Trials that the study asks for in this cell.
        arms: The arms, in the study's order.
        comparisons: Each arm with the baseline, then each recipe with its controls.
        several: The arms that train several networks.
        joint: Their networks as one, compared with the baseline and with those of the networks trained apart.
        judged: What the accuracies are.
    """

    cell: str
    majority_share: float | None
    baseline: str
    expected: int
    arms: tuple[ArmNumbers, ...]
    comparisons: tuple[Comparison, ...]
    several: tuple[Several, ...]
    joint: tuple[Comparison, ...]
    judged: Judged

    @property
    def ended(self) -> int:
        """Trials that ended in this cell."""
        return sum(arm.accuracy.n for arm in self.arms)

    def arm(self, label: str) -> ArmNumbers:
        """One arm by its label."""
        return next(arm for arm in self.arms if arm.label == label)

    def comparison(self, arm: str, versus: str) -> Comparison | None:
        """One comparison by the labels of its arms, or by the names of their networks as one."""
        for found in (*self.comparisons, *self.joint):
            if (found.arm, found.versus) == (arm, versus):
                return found
        return None


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """All cells of a study.

    Args:
        name: The study's name.
        expected: Trials that it asks for.
        ended: Trials that ended.
        cells: Its cells; those without any trial are absent, and all of them where panels stand for them.
        panels: What a sweep found; empty for every other study.
    """

    name: str
    expected: int
    ended: int
    cells: tuple[CellSummary, ...]
    panels: tuple[Panel, ...] = ()

    @property
    def missing(self) -> int:
        """Trials that have not ended."""
        return self.expected - self.ended

    @property
    def comparisons(self) -> int:
        """How many comparisons the report makes."""
        if self.panels and not self.cells:
            return sum(len(panel.measured) for panel in self.panels)
        return sum(len(cell.comparisons) + len(cell.joint) for cell in self.cells)
