"""Everything that a study will need, tried once before the first trial runs.

Called by `cli/run` before the first trial; it hands on the digests of the data, and what speaks against an engine.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from regrow.compose import Recipe
from regrow.criteria import MEASURED, Signal
from regrow.errors import ConfigError, NoEffectWarning
from regrow.graph import Wiring, trace
from regrow.history import Renewed
from regrow.lab import assembly
from regrow.lab.data import Dataset
from regrow.lab.data.dataset import hold_out
from regrow.lab.diagnostics import Diagnosis
from regrow.lab.engines.choice import refusal
from regrow.lab.member import Member
from regrow.lab.teaching import teacher_network
from regrow.lab.tried import try_model, try_step
from regrow.lab.weights import read_weights
from regrow.lab.worker import WorkerSettings, data_key, load_data
from regrow.streams import tasks
from regrow.study.mistakes import at
from regrow.study.stream import AT_EACH_TASK, ClassIncremental
from regrow.study.trials import TrialSpec

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What the rehearsal found."""

    data_digests: dict[str, str]  # hash of the data set by cell
    # What a user should know: recipes that cannot act within the given epochs, those that rank filters on images
    # that are trained on, and what teachers cost.
    notices: tuple[str, ...]
    # Why the study cannot run in a stack: the first arm that cannot, and its reason; empty where it can.
    refusal: str = ""


def preflight(specs: Sequence[TrialSpec], *, data_dir: Path | None = None) -> Preflight:
    """Load every data set, train every network for one step, attach every recipe, and keep nothing of it.

    What many arms and cells have in common is tried once: a data set, a network with its way of training, a recipe.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise ConfigError(f"--data-dir: must be a folder, got {data_dir}")
    tried = _Tried(WorkerSettings(data_dir=data_dir))
    digests: dict[str, str] = {}
    notices: dict[str, None] = {}
    refused = ""
    first_of_arm: dict[tuple[str, str], TrialSpec] = {}
    for spec in specs:
        first_of_arm.setdefault((spec.cell, spec.label), spec)
    for spec in first_of_arm.values():
        network, told, reason = tried.arm(spec)
        digests[spec.cell] = str(network.data.meta["sha256"])
        cell = "" if spec.cell == "base" else f"{spec.cell}: "
        notices |= dict.fromkeys(f"{cell}{text}" for text in network.notices)
        notices |= dict.fromkeys(f"{cell}arm {spec.label}: {text}" for text in told)
        if reason and not refused:
            refused = f"arm {spec.label}: {reason}"
    return Preflight(
        data_digests=digests,
        notices=(*notices, *_told_of_teachers(first_of_arm.values())),
        refusal=refused,
    )


class _Tried:
    """What was tried, each thing once: by a text that is equal where all is that it depends on."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._found: dict[str, Any] = {}

    def arm(self, spec: TrialSpec) -> tuple[_Network, list[str], str]:
        """An arm's network, what is to be told of its recipe, and why it cannot run in a stack."""
        source = data_key(spec.data)
        dataset = self._once(source, lambda: load_data(spec.data, self._settings))
        images = _text(source, spec.train.held_out)
        parted = self._once(images, lambda: hold_out(dataset, spec.train.held_out))
        trained = _text(
            images,
            [spec.model.name, spec.model.settings],
            spec.train.model_dump(include=STEP),
            spec.diagnostics.model_dump(),
            None if spec.stream is None else spec.stream.model_dump(),
        )
        network = self._once(trained, lambda: _Network(spec, parted))
        recipe = _text(
            trained,
            [spec.recipe, spec.settings, spec.like is None, spec.train.epochs],
            [[str(teacher), spec.distillation.temperature] for teacher in spec.teachers],
        )
        told = self._once(recipe, lambda: _rehearse(spec, network))
        side = _text(trained, spec.partners > 1, bool(spec.teachers))
        return network, told, self._once(side, lambda: refusal(spec, network.model))

    def _once(self, key: str, find: Callable[[], Found]) -> Found:
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]


STEP: Final = {
    "batch_size",
    "drop_last",
    "optimizer",
    "loss_reduction",
    "clip_grad_norm",
    "augment",
    "overlap_penalty",
    "channels_last",
}
"""What a step depends on; the length of the training and the rate are no matter of whether it can be made."""


def _text(*parts: object) -> str:
    """A text that is equal where all parts are."""
    return json.dumps(parts, sort_keys=True)


class _Network:
    """A network as a study trains it, tried for one step; fresh again for the recipes that are attached to it."""

    def __init__(self, spec: TrialSpec, dataset: Dataset) -> None:
        self.data = dataset
        if spec.stream is not None:
            tasks.refuse_data(spec.stream, self.data)
        count = assembly.images_per_epoch(spec, len(self.data.x_train))
        batch = spec.train.batch_size
        if assembly.steps_of(spec, self.data) == 0:
            raise ConfigError(
                f"train.batch_size: must be at most {count}, the number of training images, "
                f"with drop_last, got {batch} (arm {spec.label})"
            )
        told = (
            f"train.batch_size: {batch} is more than the {count} training images, each step has all"
        )
        self.notices = [told] if batch > count else []
        self.model = assembly.build_model(spec, self.data, seed=spec.seed)
        self.optimizer = assembly.build_optimizer(spec.train, self.model)
        where = f"model '{spec.model.name}'"
        try_model(self.model, self.data, where=where)
        try_step(spec, self.data, where=where)
        with at("diagnostics"):
            Diagnosis(spec, self.model, self.data)

    @cached_property
    def wiring(self) -> Wiring:
        """Who reads whom, found once for all recipes."""
        return trace(self.model, self.data.x_train[:2])


def _rehearse(spec: TrialSpec, network: _Network) -> list[str]:
    """An arm's recipe attached and taken off again: what is to be told."""
    _try_teacher_files(spec, network.data)
    if spec.recipe == AT_EACH_TASK and spec.stream is None:
        raise ConfigError(
            f"arm {spec.label}: recipe '{AT_EACH_TASK}' begins anew with each task, and the study has no [stream]"
        )
    dataset, like = network.data, None if spec.like is None else list[Renewed]()
    with warnings.catch_warnings(record=True) as caught, at(f"arm {spec.label}"):
        warnings.simplefilter("always", NoEffectWarning)
        recipe = assembly.arm_recipe(spec, like=like)
        if recipe is None:
            members = [Member(spec, dataset, place=place) for place in range(spec.partners)]
            attached = assembly.attach_partner_recipe(spec, dataset, members)
        else:
            attached = assembly.attach_recipe(
                spec,
                dataset,
                network.model,
                network.optimizer,
                recipe=recipe,
                wiring=network.wiring,
            )
    if attached is not None:
        attached.detach()
    told = [str(warning.message) for warning in caught]
    if recipe is None:
        return told
    counts = Signal.SILENCED_ACCURACY in recipe.criterion.needs
    if counts and isinstance(spec.stream, ClassIncremental):
        raise ConfigError(
            f"arm {spec.label}: recipe '{spec.recipe}' counts right answers among all classes, and in [stream] kind "
            "'class-incremental' some have not arrived yet"
        )
    if _waits(recipe) and not (spec.stream and spec.stream.told):
        told.append("acts where a task begins, and nobody tells it: [stream] with told = true does")
    measures = recipe.criterion.needs & MEASURED
    if measures and spec.stream is None and dataset.held_out is None:
        count = min(assembly.CALIBRATION, len(dataset.x_train))
        told.append(
            f"ranks filters on the first {count} training images, which it is trained on; "
            "train.held_out = N sets images aside"
        )
    return told


def _waits(recipe: Recipe) -> bool:
    """Whether a recipe acts at boundaries alone."""
    whole = recipe.network is not None and (
        recipe.network_when is None or recipe.network_when.at_boundaries
    )
    return whole or recipe.when.at_boundaries


def _try_teacher_files(spec: TrialSpec, dataset: Dataset) -> None:
    """Teachers that are trained in the study are tried as arms of their own; those in files here."""
    for teacher in spec.teachers:
        if teacher.trial is not None:
            continue
        plain = teacher.model or spec.model
        with at(f"arm {spec.label}"):
            found = read_weights(teacher.path, plain=plain, sha256=teacher.sha256)
            network = teacher_network(found, dataset, temperature=spec.distillation.temperature)
        try_model(network, dataset, where=f"arm {spec.label}: teacher {teacher.path}")


def _told_of_teachers(specs: Collection[TrialSpec]) -> list[str]:
    """What the teachers of each arm are trained for: the arm's own epochs do not count it."""
    by_trial = {spec.trial: spec for spec in specs}
    found: dict[str, None] = {}
    for spec in specs:
        lineage = _lineage(spec, by_trial)
        files = [teacher.path for teacher in spec.teachers if teacher.trial is None]
        told = [f"what {path} has cost is not known" for path in files]
        if lineage:
            parts = ", ".join(f"{other.label} {_epochs(other)}" for other in lineage)
            every = sum(map(_epochs, lineage))
            told.insert(0, f"its teachers train {every} epochs in all ({parts})")
        if told:
            told.append(f"its own epochs, {_epochs(spec)}, do not count that")
            cell = "" if spec.cell == "base" else f"{spec.cell}: "
            found[f"{cell}arm {spec.label}: {'; '.join(told)}"] = None
    return list(found)


def _lineage(spec: TrialSpec, by_trial: Mapping[str, TrialSpec]) -> list[TrialSpec]:
    """The trials that teach a trial, and those that teach them, each once."""
    found: dict[str, TrialSpec] = {}
    waiting = [spec]
    while waiting:
        for teacher in waiting.pop(0).teachers:
            other = by_trial.get(teacher.trial or "")
            if other is not None and other.trial not in found:
                found[other.trial] = other
                waiting.append(other)
    return list(found.values())


def _epochs(spec: TrialSpec) -> int:
    """Epochs of a trial, over all its networks."""
    return spec.train.epochs * spec.partners
