"""The trials of a study, in the order in which they run.

Contents: `TeacherSpec`, `TrialSpec`, `Trials`, `trial_name`, `of_cells`, `Plan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, overload

from regrow.errors import ConfigError
from regrow.study.cells import Cell, cells, complete, data_of, in_order, model_of, training_of
from regrow.study.document import (
    Arm,
    DataChoice,
    Diagnostics,
    Distillation,
    EngineName,
    ModelChoice,
    Study,
    Training,
)
from regrow.study.fingerprint import RESULTS_VERSION, of_cell
from regrow.study.keys import MISSING, parse_setting, path_of, value_at, written
from regrow.study.known import Known
from regrow.study.records import ArmRecord
from regrow.study.relations import arm_records
from regrow.study.stream import AnyStream
from regrow.study.task_stream import LossName

MANY: Final = 12
"""As many values or cells as a message names."""


@dataclass(frozen=True, kw_only=True)
class TeacherSpec:
    """Who teaches a trial: another trial of the study, or a file."""

    trial: str | None = None  # the trial whose final weights teach; None for a file
    path: str = ""  # the file, relative to the working directory; empty for a trial
    sha256: str | None = None  # the file's hash when the study was begun
    # For a file, the study's model: what a plain ``state_dict`` is of.
    model: ModelChoice | None = None


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One recipe, one seed, one training run: all that a worker must know."""

    cell: str  # name of the cell
    label: str  # label of the arm
    seed: int  # the seed; the arms of one seed start from the same weights and see the same batches
    data: DataChoice  # the data set, the arm's own settings included
    model: ModelChoice  # the model, the arm's own settings included
    train: Training  # the training, the arm's own overrides included
    recipe: str  # name of the recipe
    settings: Mapping[str, Any]  # its settings
    like: str | None = None  # for a control, the trial that it replays
    stream: AnyStream | None = None  # the stream of tasks; None: one task, the data set
    # What is looked at beside the accuracy.
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    teachers: tuple[TeacherSpec, ...] = ()  # whom the network follows beside the classes
    distillation: Distillation = field(default_factory=Distillation)  # how it follows them
    # Whether its final weights are kept, since it teaches another trial.
    keeps_weights: bool = False

    @property
    def trial(self) -> str:
        """The trial's name in the store."""
        return trial_name(self.cell, self.label, self.seed)

    @property
    def partners(self) -> int:
        """How many networks the trial trains."""
        return int(self.settings.get("partners", 1))

    @property
    def loss(self) -> LossName:
        """What is learnt: classes, or what its stream says."""
        return "cross-entropy" if self.stream is None else self.stream.loss

    @property
    def after(self) -> tuple[str, ...]:
        """The trials that must have ended before this one begins."""
        named = (self.like, *(teacher.trial for teacher in self.teachers))
        return tuple(trial for trial in named if trial is not None)


def trial_name(cell: str, label: str, seed: int) -> str:
    """The name of a trial, such as ``base/randomout/seed3``."""
    return f"{cell}/{label}/seed{seed}"


@dataclass(frozen=True, kw_only=True)
class Trials(Sequence[TrialSpec]):
    """The trials of a study in the order in which they run, each made when it is asked for.

    Seed by seed, so that a study that is stopped early has all arms of the seeds that ended. A hundred thousand of
    them take no more memory than a thousand.
    """

    # What all seeds of an arm have in common, by cell and arm. Who is like a trial comes after it, and who is
    # taught after the teachers, all named by their arms.
    arms: tuple[TrialSpec, ...]
    seeds: tuple[int, ...]  # the seeds

    def __len__(self) -> int:
        """How many there are."""
        return len(self.arms) * len(self.seeds)

    @overload
    def __getitem__(self, place: int) -> TrialSpec: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[TrialSpec, ...]: ...

    def __getitem__(self, place: int | slice) -> TrialSpec | tuple[TrialSpec, ...]:
        """Make the trial at a place, or those of a slice."""
        if isinstance(place, slice):
            return tuple(self[number] for number in range(*place.indices(len(self))))
        number = range(len(self))[place]
        seed, arm = self.seeds[number // len(self.arms)], self.arms[number % len(self.arms)]
        return replace(
            arm,
            seed=seed,
            like=None if arm.like is None else trial_name(arm.cell, arm.like, seed),
            teachers=tuple(
                teacher
                if teacher.trial is None
                else replace(teacher, trial=trial_name(arm.cell, teacher.trial, seed))
                for teacher in arm.teachers
            ),
        )


def _arms(cell: Cell, known: Known, *, where: str) -> Iterator[TrialSpec]:
    """What all seeds of an arm have in common, for each arm of a cell."""
    study, arms = cell.study, cell.study.arms
    teaching = {teacher for arm in arms.values() for teacher in arm.teachers}
    for label in in_order(arms, where=where):
        arm = arms[label]
        yield TrialSpec(
            cell=cell.name,
            label=label,
            seed=0,
            data=data_of(study, arm),
            model=model_of(study, known, arm),
            train=training_of(study, label, arm, where=where),
            recipe=arm.recipe,
            settings=arm.settings,
            # Who is like another arm without replaying its events waits for nothing.
            like=arm.like if known.recipes.info(arm.recipe).role == "control" else None,
            stream=study.stream,
            diagnostics=study.diagnostics,
            teachers=_teachers(arm, model=study.model),
            distillation=arm.distillation or Distillation(),
            keeps_weights=label in teaching,
        )


def of_cells(every: Trials, wanted: Sequence[str], *, among: Sequence[Cell]) -> Trials:
    """Take the trials of the cells that have all `wanted` settings: ``redo.threshold=1e-8``, as ``--set`` takes it.

    A setting that the grid does not vary is the same in every cell, and may be asked for as well.
    """
    left = {cell.name: cell.study.model_dump() for cell in among}
    for count, text in enumerate(wanted, 1):
        key, value = parse_setting(text, where="--only")
        there = {
            name: value_at(document, path_of(document, key, where=f"--only {text}"))
            for name, document in left.items()
        }
        left = {name: left[name] for name, found in there.items() if _same(found, value)}
        if not left:
            asked = " and ".join(wanted[:count])
            raise ConfigError(_none_has(asked, key, there.values(), grid=among))
    return replace(every, arms=tuple(arm for arm in every.arms if arm.cell in left))


def _same(one: object, other: object) -> bool:
    """Equal as settings are: 1 is 1.0, and true is no number."""
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def _none_has(asked: str, key: str, found: Iterable[object], *, grid: Sequence[Cell]) -> str:
    """What is said of ``--only`` with a value that no cell has."""
    there = list(dict.fromkeys(written(value) for value in found if value is not MISSING))
    if there:
        many = f", ... ({len(there)} values)" if len(there) > MANY else ""
        return f"--only: no cell has {asked}; {key} is {', '.join(there[:MANY])}{many}"
    names = ", ".join(cell.name for cell in grid[:MANY])
    return f"--only: no cell has {asked}, for nothing is called {key}; the cells are {names}"


def _teachers(arm: Arm, *, model: ModelChoice) -> tuple[TeacherSpec, ...]:
    """The teachers of an arm; those that are trained in the study by their labels."""
    return tuple(
        TeacherSpec(path=name, sha256=arm.teacher_digests[name], model=model)
        if name in arm.teacher_digests
        else TeacherSpec(trial=name)
        for name in arm.teachers
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that follows from a study before anything is trained; `cells` refuses all that does not fit."""

    study: Study  # as it was written
    known: Known  # what it may name
    where: str = "study"  # its file, for messages

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The grid, multiplied out and completed."""
        return cells(self.study, complete=self._complete, where=self.where)

    @cached_property
    def trials(self) -> Trials:
        """All trials, in the order in which they run."""
        arms = (arm for cell in self.cells for arm in _arms(cell, self.known, where=self.where))
        return Trials(arms=tuple(arms), seeds=self.study.seeds)

    @cached_property
    def arms(self) -> tuple[ArmRecord, ...]:
        """How the arms of each cell stand to each other."""
        return arm_records(self.cells, self.known.recipes.info)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The study as plain data with everything written out, as it is stored beside the results.

        Where the grid varies a setting, the value outside the grid stands.
        """
        base = self.study.model_copy(update={"grid": {}})
        found = self._complete(base, self.where) if self.study.grid else self.cells[0].study
        # What came later is left out where it is not asked for: documents of such studies are as they were.
        later = set[str]() if found.diagnostics.probe_steps else {"probe_steps"}
        unsaid: dict[str, Any] = {"diagnostics": later}
        if found.stream is None:
            unsaid = {"stream": True, "diagnostics": {"ranks", "probe_steps"}}
        if not found.note:
            unsaid["note"] = True
        whole = found.model_dump(mode="json", exclude=unsaid)
        return {**whole, "grid": dict(self.study.grid), "seeds": list(self.study.seeds)}

    def fingerprint_document(
        self,
        *,
        data_digests: Mapping[str, str],
        engine: EngineName = "modules",
        device: str = "cpu",
    ) -> dict[str, Any]:
        """All that determines the results of a trial, JSON-ready; the digests of the data come by cell."""
        return {
            "results_version": RESULTS_VERSION,
            # Folders from before there was a choice say neither engine nor device.
            **({} if engine == "modules" else {"engine": engine}),
            **({} if device == "cpu" else {"device": device.partition(":")[0]}),
            "cells": {
                cell.name: of_cell(cell.study, self.known, data_digest=data_digests[cell.name])
                for cell in self.cells
            },
        }

    def _complete(self, study: Study, where: str) -> Study:
        return complete(study, self.known, where=where)
