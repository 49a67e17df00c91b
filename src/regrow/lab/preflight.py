"""Everything that a study will need, tried once before the first trial runs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow import recipes
from regrow.criteria import MEASURED
from regrow.errors import ConfigError, NoEffectWarning, RegrowError
from regrow.history import Renewed
from regrow.lab import data
from regrow.lab.arm_recipes import OWN
from regrow.lab.assembly import (
    CALIBRATION,
    arm_recipe,
    attach_partner_recipe,
    attach_recipe,
    build_model,
    build_optimizer,
    steps_per_epoch,
)
from regrow.lab.data import Dataset
from regrow.lab.data.held_out import hold_out
from regrow.lab.diagnostics import Diagnosis
from regrow.lab.engines import refusal
from regrow.lab.teaching import teacher_network
from regrow.lab.weights import read_weights
from regrow.partnership import PartnerRecipe
from regrow.study.trials import TrialSpec


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What the rehearsal found.

    Attributes:
        data_digests: Hash of the data set by cell.
        notices: What a user should know: recipes that cannot act within the given epochs, those that rank filters
            on images that are trained on, and what teachers cost.
        refusal: Why the study cannot run in a stack: the first arm that cannot, and its reason; empty where it can.
    """

    data_digests: dict[str, str]
    notices: tuple[str, ...]
    refusal: str = ""


def preflight(
    specs: Sequence[TrialSpec], *, data_dir: Path | None = None, cache_dir: Path | None = None
) -> Preflight:
    """Load every data set, build every model, attach every recipe, and train nothing.

    Args:
        specs: All trials of the study; one of each cell and arm is tried.
        data_dir: Folder with data sets.
        cache_dir: Folder for fetched data sets.

    Returns:
        Hashes and notices.

    Raises:
        ConfigError: `data_dir` is no folder, a batch is larger than a training set whose last batch
            is dropped, or a recipe cannot be attached. What loading and building raise comes through.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise ConfigError(f"--data-dir: must be a folder, got {data_dir}")
    digests: dict[str, str] = {}
    notices: dict[str, None] = {}
    held: dict[str, Dataset] = {}
    tried: set[tuple[str, str]] = set()
    refused = ""
    for spec in specs:
        if (spec.cell, spec.label) in tried:
            continue
        tried.add((spec.cell, spec.label))
        key = json.dumps([spec.data.name, spec.data.settings], sort_keys=True)
        if key not in held:
            held[key] = data.load(
                spec.data.name,
                settings=spec.data.settings,
                data_dir=data_dir,
                cache_dir=cache_dir,
            )
        digests[spec.cell] = str(held[key].meta["sha256"])
        told, reason = _rehearse(spec, held[key])
        for notice in told:
            notices.setdefault(notice)
        if reason and not refused:
            refused = f"arm {spec.label}: {reason}"
    told = [*notices, *_told_of_teachers(specs)]
    return Preflight(data_digests=digests, notices=tuple(told), refusal=refused)


def _rehearse(spec: TrialSpec, dataset: Dataset) -> tuple[list[str], str]:
    """One model and one recipe, put together and thrown away: what is to be told, and why it is no stack."""
    dataset, *aside = hold_out(dataset, spec.train.held_out)
    if steps_per_epoch(spec.train, len(dataset.x_train)) == 0:
        raise ConfigError(
            f"train.batch_size: must be at most {len(dataset.x_train)}, the number of training images, "
            f"with drop_last, got {spec.train.batch_size} (arm {spec.label})"
        )
    model = build_model(spec, dataset, seed=spec.seed)
    optimizer = build_optimizer(spec.train, model)
    reason = refusal(spec, model)
    _try_model(model, dataset, where=f"model '{spec.model.name}'")
    _try_teacher_files(spec, dataset)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NoEffectWarning)
        like: list[Renewed] | None = None if spec.like is None else []
        try:
            regrower = attach_recipe(
                spec,
                dataset,
                model,
                optimizer,
                recipe=arm_recipe(spec, like=like),
                held_out=(aside[0], aside[1]) if spec.train.held_out else None,
            )
            grafter = attach_partner_recipe(spec, dataset, _partners(spec, dataset))
        except RegrowError as error:
            raise ConfigError(f"arm {spec.label}: {error}") from error
        try:
            Diagnosis(
                spec.diagnostics,
                model=model,
                example=dataset.x_train[:2],
                held_out=(aside[0], aside[1]) if spec.train.held_out else None,
                seed=spec.seed,
            )
        except RegrowError as error:
            raise ConfigError(f"diagnostics: {error}") from error
    for attached in (regrower, grafter):
        if attached is not None:
            attached.detach()
    told = [str(warning.message) for warning in caught]
    if spec.recipe not in OWN and not spec.train.held_out:
        told += _ranks_on_training_images(spec, len(dataset.x_train), like=like)
    cell = "" if spec.cell == "base" else f"{spec.cell}: "
    return [f"{cell}arm {spec.label}: {text}" for text in told], reason


def _partners(spec: TrialSpec, dataset: Dataset) -> list[tuple[nn.Module, Optimizer]]:
    """The networks that a recipe for several joins, and their optimizers."""
    models = [build_model(spec, dataset, seed=spec.seed) for _ in range(spec.partners)]
    return [(model, build_optimizer(spec.train, model)) for model in models]


def _ranks_on_training_images(
    spec: TrialSpec, examples: int, *, like: Sequence[Renewed] | None
) -> list[str]:
    """What is said of a recipe whose ranking looks at data where none was set aside."""
    recipe = recipes.build(spec.recipe, spec.settings, like=like, where=spec.trial)
    if isinstance(recipe, PartnerRecipe) or not recipe.criterion.needs & MEASURED:
        return []
    return [
        f"ranks filters on the first {min(CALIBRATION, examples)} training images, which it is trained on; "
        "train.held_out = N sets images aside"
    ]


def _try_teacher_files(spec: TrialSpec, dataset: Dataset) -> None:
    """Teachers that are trained in the study are tried as arms of their own; those in files here."""
    for teacher in spec.teachers:
        if teacher.trial is not None:
            continue
        plain = teacher.model or spec.model
        try:
            found = read_weights(teacher.path, plain=plain, sha256=teacher.sha256)
            network = teacher_network(found, dataset, temperature=spec.distillation.temperature)
        except RegrowError as error:
            raise ConfigError(f"arm {spec.label}: {error}") from error
        _try_model(network, dataset, where=f"arm {spec.label}: teacher {teacher.path}")


def _told_of_teachers(specs: Sequence[TrialSpec]) -> list[str]:
    """What the teachers of each arm are trained for: the arm's own epochs do not count it."""
    by_trial = {spec.trial: spec for spec in specs}
    found: dict[str, None] = {}
    for spec in specs:
        files = [teacher.path for teacher in spec.teachers if teacher.trial is None]
        lineage = _lineage(spec, by_trial)
        parts = [f"{other.label} {_epochs(other)}" for other in lineage]
        told = [
            f"its teachers train {sum(map(_epochs, lineage))} epochs in all ({', '.join(parts)})"
        ]
        told = (told if lineage else []) + [f"what {path} has cost is not known" for path in files]
        if told:
            cell = "" if spec.cell == "base" else f"{spec.cell}: "
            found[
                f"{cell}arm {spec.label}: {'; '.join(told)}; its own epochs, {_epochs(spec)}, do not count that"
            ] = None
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


def _try_model(model: nn.Module, dataset: Dataset, *, where: str) -> None:
    """Two images through the network: one score a class must come out."""
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ConfigError(
                f"{where}: must know its shapes before it is trained, {name} belongs to a lazy layer"
            )
    try:
        with torch.no_grad():
            scores: object = model.eval()(dataset.x_train[:2])
    except (Exception, SystemExit) as error:  # whatever the user's network raises
        told = " ".join(f"{type(error).__name__}: {error}".split())
        shape = tuple(dataset.x_train[:2].shape)
        raise ConfigError(f"{where}: raised {told} on images of shape {shape}") from error
    finally:
        model.train()
    wanted = (len(dataset.x_train[:2]), len(dataset.classes))
    if not isinstance(scores, Tensor):
        raise ConfigError(f"{where}: must return a tensor of scores, got {type(scores).__name__}")
    if tuple(scores.shape) != wanted:
        raise ConfigError(
            f"{where}: must return one score for each of {wanted[1]} classes, shape {wanted} for "
            f"{wanted[0]} images, got {tuple(scores.shape)}"
        )
