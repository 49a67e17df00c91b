"""The results of a study as frozen records: what was asked and what ended, nothing computed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from regrow.report.diagnostics import Diagnostics
from regrow.report.networks import Networks


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of a study: a recipe with its settings.

    Args:
        label: Its name in the study.
        recipe: The recipe's name; "none", "restart" and "independent" are the laboratory's own.
        settings: What the study sets of the recipe.
        train: Training settings that differ from the study's.
        like: For a control, the label of the arm that it replays.
        model: Where its network differs from the study's.
        teachers: Labels of the arms, and files, whose networks teach its own.
        distillation: How they teach.
    """

    label: str
    recipe: str
    settings: Mapping[str, object]
    train: Mapping[str, object]
    like: str | None
    model: Mapping[str, object] = field(default_factory=dict[str, object])
    teachers: tuple[str, ...] = ()
    distillation: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study asked for.

    Args:
        name: Its name.
        arms: Its arms, in the order of the study file.
        seeds: Its seeds.
        grid: Dotted setting to the values tried; empty without a grid.
        document: The whole resolved study, for showing.
    """

    name: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    grid: Mapping[str, list[object]]
    document: Mapping[str, object]

    @property
    def baseline(self) -> str:
        """The arm that all others are compared with: "none", else the first without a recipe."""
        labels = [arm.label for arm in self.arms]
        plain = [arm.label for arm in self.arms if arm.recipe == "none"]
        return "none" if "none" in labels else [*plain, *labels][0]

    @property
    def controls(self) -> dict[str, str]:
        """Label of each control to the label of the arm that it replays."""
        plain = {"none", "restart", "independent", "random"}
        tested = [
            arm.label
            for arm in self.arms
            if arm.recipe not in plain and "partners" not in arm.settings
        ]
        found: dict[str, str] = {}
        for arm in self.arms:
            if arm.like is not None:
                found[arm.label] = arm.like
            elif arm.recipe == "random" and len(tested) == 1:
                found[arm.label] = tested[0]
        return found

    @property
    def trials_per_cell(self) -> int:
        """How many trials each cell should have."""
        return len(self.arms) * len(self.seeds)

    @property
    def trials(self) -> int:
        """How many trials the whole study should have."""
        return self.trials_per_cell * math.prod(len(values) for values in self.grid.values())


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run that ended; accuracies are fractions after its last epoch.

    Args:
        trial: Its key in the store.
        cell: Its cell of the grid, "base" without one.
        arm: Its arm's label.
        seed: Its seed.
        status: "finished", "diverged" or "crashed".
        test_accuracy: None if it crashed: a crashed trial measured nothing.
        test_loss: Mean loss over the test set.
        train_accuracy: Accuracy during the last epoch.
        train_loss: Mean loss during the last epoch.
        majority_share: Share of the commonest class in the test set.
        epochs: Epochs trained.
        steps: Optimizer steps taken.
        renewed: Filters renewed in all.
        renewal_steps: Optimizer steps at which any filter was renewed.
        nonfinite: Scores that were NaN or infinite.
        restarts: Times that the whole network was drawn anew.
        error: The message of a crash.
        seconds: Wall time of the trial.
        recipe_seconds: Wall time inside the recipe.
    """

    trial: str
    cell: str
    arm: str
    seed: int
    status: str
    test_accuracy: float | None
    test_loss: float | None
    train_accuracy: float | None
    train_loss: float | None
    majority_share: float | None
    epochs: int | None
    steps: int | None
    renewed: int | None
    renewal_steps: int | None
    nonfinite: int | None
    restarts: int | None
    error: str | None
    seconds: float | None
    recipe_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Renewals:
    """How many filters of one layer were renewed in one epoch of one trial.

    Args:
        epoch: 1-based epoch.
        layer: Module path of the layer.
        filters: Filters renewed, those renewed twice counted twice.
    """

    epoch: int
    layer: str
    filters: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that the report needs of one run folder, as it stood at one moment.

    Args:
        folder: The run's folder.
        study: What was asked for.
        environment: Versions, machine and command of the run.
        fingerprint: Hash of what determines the results.
        trials: All trials that ended.
        accuracies: Trial key to {epoch: test accuracy}; epochs without an evaluation are absent.
        renewals: Trial key to its renewals by epoch and layer; absent without any.
        diagnostics: What the trials looked at beside their accuracy.
        networks: What is known of each network where a trial trains several, and of every network's weights.
        trained: Epochs of single networks that were trained; None where that was not counted.
        engine: What made the steps.
    """

    folder: Path
    study: Study
    environment: Mapping[str, object]
    fingerprint: str
    trials: tuple[Trial, ...]
    accuracies: Mapping[str, Mapping[int, float]]
    renewals: Mapping[str, tuple[Renewals, ...]]
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    networks: Networks = field(default_factory=Networks)
    trained: int | None = None
    engine: str = "modules"

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The cells with at least one trial, in the order of the numbers in their names."""
        return tuple(sorted({trial.cell for trial in self.trials}, key=_natural))

    @property
    def missing(self) -> int:
        """Trials that the study asked for and that have not ended."""
        return self.study.trials - len(self.trials)

    def arm(self, cell: str, label: str) -> dict[int, Trial]:
        """The trials of one arm in one cell.

        Args:
            cell: The cell.
            label: The arm's label.

        Returns:
            Seed to trial, in the order of the seeds.
        """
        return self._by_arm.get((cell, label), {})

    def trials_in(self, cell: str) -> tuple[Trial, ...]:
        """The trials of one cell.

        Args:
            cell: The cell.

        Returns:
            Its trials, in the order of the store.
        """
        return tuple(self._by_cell.get(cell, ()))

    @cached_property
    def _by_cell(self) -> dict[str, list[Trial]]:
        found: dict[str, list[Trial]] = {}
        for trial in self.trials:
            found.setdefault(trial.cell, []).append(trial)
        return found

    @cached_property
    def _by_arm(self) -> dict[tuple[str, str], dict[int, Trial]]:
        found: dict[tuple[str, str], dict[int, Trial]] = {}
        for trial in sorted(self.trials, key=lambda trial: trial.seed):
            found.setdefault((trial.cell, trial.arm), {})[trial.seed] = trial
        return found


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key by which lr=0.05 comes before lr=0.5 before lr=2, and 1e-12 before 1e-8."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)", name)
    return [
        (1, float(part), "") if odd else (0, 0.0, part)
        for part, odd in ((part, index % 2) for index, part in enumerate(parts))
    ]
