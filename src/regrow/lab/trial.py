"""One training run: a model, a seed, an arm; the same bits every time, also after an interruption, alone or shared."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from regrow.errors import (
    LargeRenewalWarning,
    LeftAloneWarning,
    NoEffectWarning,
    NonFiniteWarning,
    StateError,
)
from regrow.history import Renewed
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.engines import Engine, engine_named
from regrow.lab.run import Run
from regrow.lab.snapshot import copied, plain
from regrow.lab.weights import Weights, WeightsFile
from regrow.study.document import EngineName
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec


def run_trial(
    spec: TrialSpec,
    data: Dataset,
    *,
    like: Sequence[Renewed] | None = None,
    teachers: Sequence[Weights] = (),
    weights: WeightsFile | None = None,
    checkpoint: CheckpointFile | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    engine: EngineName = "modules",
) -> TrialResult:
    """Train one network, or the several networks of an arm with partners, one after the other in each epoch.

    The initial weights depend on the seed alone, the order of the images and torch's global
    generator (dropout) on seed and epoch: arms of one seed are paired, and an interrupted trial needs
    no generator's state to go on. torch's global generator is left as it was. Of several networks the first is the
    one that other arms train alone, and the trial's metrics are their means.

    Args:
        spec: What to train.
        data: Its data set, in memory.
        like: For a control, the renewals of the trial that it replays.
        teachers: The weights of each of ``spec.teachers``.
        weights: Where the final weights are kept, where they teach another trial.
        checkpoint: Where to go on from, and where to save.
        on_epoch: Called after each epoch; what it raises ends the trial.
        engine: What makes the steps.

    Returns:
        The result. With a non-finite loss or weight (in all of several networks) the trial stops after that epoch as
        ``diverged`` and its accuracy is what the network then measures, non-finite outputs counted as wrong.

    Examples:
        See `regrow.lab.executor.run_study`, which runs all trials of a study.
    """
    found: list[TrialResult] = []
    request = Request(
        specs=(spec,), like=like, teachers=tuple(teachers), weights=weights, checkpoint=checkpoint
    )
    train_together(
        [request],
        data,
        engine=engine,
        on_fork=_never,
        on_epoch=lambda _, record: on_epoch and on_epoch(record),
        on_end=found.extend,
    )
    return found[0]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run that is to be trained to its end.

    Attributes:
        specs: Its trial, or trials of one family (`regrow.lab.sharing.families`).
        like: For a control, the renewals of the trial that it replays.
        teachers: The weights of each of its teachers.
        weights: Where the final weights are kept, where they teach another trial.
        checkpoint: Where to go on from, and where to save.
    """

    specs: tuple[TrialSpec, ...]
    like: Sequence[Renewed] | None = None
    teachers: tuple[Weights, ...] = ()
    weights: WeightsFile | None = None
    checkpoint: CheckpointFile | None = None


@dataclass(frozen=True, kw_only=True)
class Fork:
    """Trials that have left a run: one run again, from the beginning of the epoch in which they differed.

    Attributes:
        specs: The trials; the first gives the new run its name.
        state: Where they go on from, for a checkpoint.
        epoch: Epochs done there.
    """

    specs: tuple[TrialSpec, ...]
    state: Any
    epoch: int


def train_together(
    requests: Sequence[Request],
    data: Dataset,
    *,
    engine: EngineName,
    on_fork: Callable[[Fork], object],
    on_epoch: Callable[[Sequence[TrialSpec], EpochRecord], object],
    on_end: Callable[[Sequence[TrialResult]], object],
) -> None:
    """Train runs side by side, and in each what its trials have in common once.

    A trial leaves its run when the recipe decides otherwise for it than for the run's first trial. It goes on from the
    state at the beginning of that epoch, so that everything that belongs to an epoch (order, augmentation, metrics) is
    its own. All results have the bits of the same trials trained alone in the same engine.

    Args:
        requests: The runs. In a stack they must have data, model and training in common but for the rate and the seed.
        data: Their data set, in memory, on the device that trains.
        engine: What makes the steps.
        on_fork: Takes trials that have left; they are whoever's business who takes them.
        on_epoch: Called after each epoch of a run with the trials that it still is; what it raises ends all runs.
        on_end: Takes the results of the trials that stayed together to the end of their run, once a run.
    """
    hooks = engine == "modules"
    numerics = engine_named(engine)
    with _quiet():
        going = [(request, _resumed(request, data, hooks=hooks)) for request in requests]
        while going:
            _end(going, on_end)
            going = [(request, run) for request, run in going if not run.ended]
            if going:
                going = _train_epoch(going, data, numerics, on_fork, on_epoch, hooks=hooks)


_Going: TypeAlias = list[tuple[Request, Run]]


def _end(going: _Going, on_end: Callable[[Sequence[TrialResult]], object]) -> None:
    for request, run in going:
        if run.ended:
            if request.weights is not None:
                run.keep(request.weights)
            on_end(run.results())


def _train_epoch(
    going: _Going,
    data: Dataset,
    engine: Engine,
    on_fork: Callable[[Fork], object],
    on_epoch: Callable[[Sequence[TrialSpec], EpochRecord], object],
    *,
    hooks: bool,
) -> _Going:
    """One epoch of all runs, and what follows from it for each."""
    starts = [copied(run.state()) if run.may_split else None for _, run in going]
    members = [(member, run.epoch + 1) for _, run in going for member in run.members]
    started = time.perf_counter()
    try:
        trained = iter(engine.train_epoch(*map(list, zip(*members, strict=True))))
    except Exception:
        # The error is that of the trials that are left in the run: others have parted with it in this epoch.
        for (_, run), before in zip(going, starts, strict=True):
            _hand_out(run, before, on_fork)
        raise
    seconds = (time.perf_counter() - started) / len(going)
    found: _Going = []
    for (request, run), before in zip(going, starts, strict=True):
        record = run.trained([next(trained) for _ in run.members], seconds=seconds)
        after = _parted(run, before, data, on_fork, hooks=hooks)
        if request.checkpoint is not None and not after.ended:
            names = tuple(spec.trial for spec in after.trials)
            request.checkpoint.save_if_due(
                lambda after=after: plain(after.state()), members=names, epoch=after.epoch
            )
        on_epoch(after.trials, record)
        found.append((request, after))
    return found


def _parted(
    run: Run, before: Any, data: Dataset, on_fork: Callable[[Fork], object], *, hooks: bool
) -> Run:
    """The run without those who have left it in this epoch; with them gone, its recipe is a simpler one."""
    if not _hand_out(run, before, on_fork) or run.ended:
        return run
    state = plain(copied(run.state()))
    fresh = Run(run.trials, data, hooks=hooks)
    fresh.load(state)
    return fresh


def _hand_out(run: Run, before: Any, on_fork: Callable[[Fork], object]) -> bool:
    """Give away the trials that have left a run in this epoch; whether there are any."""
    left = [] if run.crew is None else run.crew.left
    parts, left[:] = list(left), []
    for part in parts:
        on_fork(Fork(specs=part, state=plain(before), epoch=len(before["records"])))
    return bool(parts)


def _never(fork: Fork) -> None:
    raise RuntimeError(f"a single trial cannot part with {fork.specs[0].trial}")


@contextmanager
def _quiet() -> Generator[None]:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Both are told elsewhere: by the preflight for the whole study, and by a column of the store.
        warnings.simplefilter("ignore", NoEffectWarning)
        warnings.simplefilter("ignore", NonFiniteWarning)
        # What they say is in the trial's records: thousands of trials say it otherwise.
        warnings.simplefilter("ignore", LargeRenewalWarning)
        warnings.simplefilter("ignore", LeftAloneWarning)
        yield


def _resumed(request: Request, data: Dataset, *, hooks: bool) -> Run:
    """The run where its checkpoint left it, or at its start."""

    def start() -> Run:
        return Run(request.specs, data, like=request.like, teachers=request.teachers, hooks=hooks)

    run, checkpoint = start(), request.checkpoint
    state = None if checkpoint is None else checkpoint.load()
    if checkpoint is None or state is None:
        return run
    try:
        run.load(state)
    except (StateError, RuntimeError, KeyError, ValueError) as error:
        # Whole by its checksum, yet not of this network: a user's model has changed since.
        checkpoint.set_aside(f"it does not fit the trial ({error})")
        return start()
    return run
