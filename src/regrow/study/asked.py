"""What a study asked for, as its results say it: its arms, seeds and grid; and whether it sweeps.

A sweep varies two settings of one recipe over a grid, beside plain training.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, cast

from regrow.study.keys import path_of
from regrow.study.records import ArmRecord
from regrow.study.relations import baseline_of
from regrow.study.stream import AnyStream, stream_in


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a study asked for."""

    name: str  # its name
    seeds: tuple[int, ...]  # its seeds
    grid: Mapping[str, list[Any]]  # dotted setting to the values tried; empty without a grid
    document: Mapping[str, object]  # the whole resolved study, for showing
    # Its arms in each cell, by label, in the order of the study file.
    by_cell: Mapping[str, Mapping[str, ArmRecord]]

    @cached_property
    def arms(self) -> tuple[ArmRecord, ...]:
        """Its arms as they are in the first cell: labels, recipes and what each is for are the same in all."""
        return tuple(next(iter(self.by_cell.values())).values())

    @cached_property
    def stream(self) -> AnyStream | None:
        """Its stream of tasks, if it has one."""
        return stream_in(self.document)

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


SMALL: Final = 12
"""A sweep of at most so many cells keeps the section and the figures of each; of more, the panels stand for them."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One setting that is varied."""

    key: str  # its key in the grid
    setting: str  # its name in the recipe
    values: tuple[float, ...]  # its values, ascending


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a study sweeps."""

    arm: str  # label of the arm whose settings are varied
    baseline: str  # label of the arm with plain training
    controls: tuple[str, ...]  # labels of the arms that replay the arm's renewals
    first: Axis  # the setting that the grid names first
    x: Axis  # the setting with more values, across; of two with as many, the second
    y: Axis  # the other, upwards
    # The other keys of the grid with their values: each of their combinations is a panel.
    rest: tuple[tuple[str, tuple[object, ...]], ...]

    @property
    def cells(self) -> int:
        """How many cells the study has."""
        others = [len(values) for _, values in self.rest]
        return math.prod([len(self.x.values), len(self.y.values), *others])

    @property
    def large(self) -> bool:
        """Whether there are too many cells for a section each."""
        return self.cells > SMALL

    @property
    def panels(self) -> tuple[tuple[tuple[str, object], ...], ...]:
        """The combinations of the other keys, in the order of the grid; a single empty one without any."""
        axes = [[(key, value) for value in values] for key, values in self.rest]
        return tuple(itertools.product(*axes))


def find_sweep(study: Asked) -> Sweep | None:
    """What a study sweeps: at least two settings of one recipe, each over at least two different numbers.

    It has an arm with plain training to compare with. Of more than two such settings those with the most values are the
    axes; of two arms that are both varied so, the first. Where numbers are learnt nothing is a sweep: its figures and
    sentences are of gains in accuracy, and each cell has its own section.
    """
    if study.stream is not None and study.stream.loss == "squared":
        return None
    roles = {arm.label: arm.role for arm in study.arms}
    if roles[study.baseline] != "plain":
        return None
    for arm in study.arms:
        if arm.role in {"plain", "restart"} or arm.label in study.controls:
            continue
        axes = [
            axis
            for key, values in study.grid.items()
            if (axis := _axis(key, values, label=arm.label)) is not None
        ]
        if len(axes) < 2:
            continue
        longest = sorted(axes, key=lambda axis: -len(axis.values))[:2]
        first, second = (axis for axis in axes if axis in longest)
        x, y = (first, second) if len(first.values) > len(second.values) else (second, first)
        return Sweep(
            arm=arm.label,
            baseline=study.baseline,
            controls=tuple(
                control for control, tested in study.controls.items() if tested == arm.label
            ),
            first=first,
            x=x,
            y=y,
            rest=tuple(
                (key, tuple(values))
                for key, values in study.grid.items()
                if key not in {x.key, y.key}
            ),
        )
    return None


def _axis(key: str, values: list[object], *, label: str) -> Axis | None:
    """The axis of a key of the grid, if it varies a number among the settings of an arm's recipe."""
    if not key.removeprefix("arms.").startswith(f"{label}."):
        return None
    # A label may be called as a part of the study is; without "arms." the part is meant then.
    *table, setting = path_of({"arms": [label]}, key, where="grid")
    if table != ["arms", label, "settings"]:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return None
    numbers = sorted(cast("list[float]", values))
    if len(numbers) < 2 or len(set(numbers)) < len(numbers):
        return None
    return Axis(key=key, setting=setting, values=tuple(numbers))
