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
    """One arm in one cell: what was asked of it, and what came of it."""

    accuracy: ArmSummary  # test accuracy over the seeds
    expected: int  # trials that the study asks for
    diverged: int  # trials that became non-finite
    renewed: float | None  # mean number of filters renewed per trial
    trials_renewed: int  # trials in which any filter was renewed
    trials_dropped: int  # trials in which any filter left the network for a while
    resting: int  # filters that were out of the network when their trial ended, over all trials
    trials_resting: int  # trials that ended so
    trials_grafted: int  # trials in which any network took a share of another's weights
    restarts: int  # whole networks drawn anew, over all trials
    nonfinite: int  # scores that were NaN or infinite, over all trials
    seconds: float | None  # mean wall time of a trial
    # Wall time per optimizer step relative to the baseline's over common seeds, minus 1.
    extra_time: float | None
    recipe_time: float | None  # wall time inside the recipe relative to the rest of the same trials

    @property
    def missing(self) -> int:
        """Trials that have not ended."""
        return self.expected - self.accuracy.n


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against another in one cell."""

    unit: ClassVar[Unit] = ACCURACY

    arm: str  # the arm under test; or its networks as one, as `Several.name` calls them
    versus: str  # what it is compared with, called in the same way
    role: Versus  # what `versus` is to it
    numbers: PairedComparison  # differences are `arm` minus `versus`

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
    """One cell of the grid."""

    cell: str  # its name, "base" without a grid
    # Share of the commonest class in the test set; None if all trials crashed.
    majority_share: float | None
    baseline: str  # the arm that the others are compared with
    expected: int  # trials that the study asks for in this cell
    arms: tuple[ArmNumbers, ...]  # the arms, in the study's order
    # Each arm with the baseline, then each recipe with its controls.
    comparisons: tuple[Comparison, ...]
    several: tuple[Several, ...]  # the arms that train several networks
    # Their networks as one, compared with the baseline and with those of the networks trained apart.
    joint: tuple[Comparison, ...]
    judged: Judged  # what the accuracies are

    @property
    def ended(self) -> int:
        """Trials that ended in this cell."""
        return sum(arm.accuracy.n for arm in self.arms)

    def arm(self, label: str) -> ArmNumbers:
        """One arm by its label."""
        return next(arm for arm in self.arms if arm.label == label)

    def joined(self, label: str | None) -> Several | None:
        """What the networks of an arm reach that trains several; None of any other."""
        return next((own for own in self.several if own.label == label), None)

    def compared(self, arm: str, versus: str) -> Comparison:
        """An arm with the baseline or with a control of its own, as every one is."""
        return next(each for each in self.comparisons if (each.arm, each.versus) == (arm, versus))

    def comparison(self, arm: str, versus: str) -> Comparison | None:
        """One comparison by the labels of its arms, or by the names of their networks as one."""
        every = (*self.comparisons, *self.joint)
        return next((each for each in every if (each.arm, each.versus) == (arm, versus)), None)


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """All cells of a study."""

    name: str  # the study's name
    expected: int  # trials that it asks for
    ended: int  # trials that ended
    # Its cells; those without any trial are absent, and all of them where panels stand for them.
    cells: tuple[CellSummary, ...]
    panels: tuple[Panel, ...] = ()  # what a sweep found; empty for every other study

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
