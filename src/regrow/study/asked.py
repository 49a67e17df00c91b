"""What a study asked for, as its results say it: its arms in every cell, its seeds, its grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from regrow.study.records import ArmRecord
from regrow.study.relations import baseline_of


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a study asked for.

    Attributes:
        name: Its name.
        seeds: Its seeds.
        grid: Dotted setting to the values tried; empty without a grid.
        document: The whole resolved study, for showing.
        by_cell: Its arms in each cell, by label, in the order of the study file.
    """

    name: str
    seeds: tuple[int, ...]
    grid: Mapping[str, list[Any]]
    document: Mapping[str, object]
    by_cell: Mapping[str, Mapping[str, ArmRecord]]

    @cached_property
    def arms(self) -> tuple[ArmRecord, ...]:
        """Its arms as they are in the first cell: labels, recipes and what each is for are the same in all."""
        return tuple(next(iter(self.by_cell.values())).values())

    @cached_property
    def baseline(self) -> str:
        """The arm that all others are compared with."""
        return baseline_of([(arm.label, arm.role) for arm in self.arms])

    def of_arms(self, labels: Collection[str]) -> Asked:
        """The study as if it had asked for some of its arms alone."""
        kept = {
            cell: {label: arm for label, arm in arms.items() if label in labels}
            for cell, arms in self.by_cell.items()
        }
        return replace(self, by_cell=kept)

    @property
    def controls(self) -> dict[str, str]:
        """Label of each control to the label of the arm that it is like."""
        return {arm.label: arm.replays for arm in self.arms if arm.replays is not None}

    @property
    def replays(self) -> dict[str, str]:
        """The controls that have renewed as many as the arm that they are like, in the same steps."""
        return {
            arm.label: arm.replays
            for arm in self.arms
            if arm.replays is not None and arm.role == "control"
        }

    @property
    def trials_per_cell(self) -> int:
        """How many trials each cell should have."""
        return len(self.arms) * len(self.seeds)

    @property
    def trials(self) -> int:
        """How many trials the whole study should have."""
        return self.trials_per_cell * len(self.by_cell)
