"""One training run: a model, a seed, an arm; the same bits every time, also after an interruption, alone or shared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from regrow.errors import NoEffectWarning, NonFiniteWarning, StateError
from regrow.history import Renewed
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.engines import EngineName
from regrow.lab.outcome import EpochRecord, TrialResult
from regrow.lab.run import Run
from regrow.lab.snapshot import copied, plain
from regrow.lab.trials import TrialSpec
from regrow.lab.weights import Weights, WeightsFile


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
    with _quiet():
        run = _resumed(
            lambda: Run([spec], data, like=like, teachers=teachers, engine=engine), checkpoint
        )
        while not run.ended:
            record = run.train_epoch()
            if checkpoint is not None and not run.ended:
                checkpoint.save_if_due(lambda: plain(run.state()), epoch=run.epoch)
            if on_epoch is not None:
                on_epoch(record)
        if weights is not None:
            run.keep(weights)
        return run.results()[0]


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


def run_family(
    specs: Sequence[TrialSpec],
    data: Dataset,
    *,
    on_fork: Callable[[Fork], object],
    checkpoint: CheckpointFile | None = None,
    on_epoch: Callable[[Sequence[TrialSpec], EpochRecord], object] | None = None,
    engine: EngineName = "modules",
) -> tuple[TrialResult, ...]:
    """Train what several trials have in common, once, and part with those that come to differ.

    A trial leaves when the recipe decides otherwise for it than for the first trial. It goes on from the state at the
    beginning of that epoch, so that everything that belongs to an epoch (order, augmentation, metrics) is its own.
    All results have the bits of the same trials trained alone in the same engine.

    Args:
        specs: Trials of one family (`regrow.lab.sharing.families`).
        data: Their data set, in memory.
        on_fork: Takes trials that have left; they are whoever's business who takes them.
        checkpoint: Where to go on from, and where to save.
        on_epoch: Called after each epoch with the trials that it was for; what it raises ends the run.
        engine: What makes the steps.

    Returns:
        The results of the trials that stayed together to the end.
    """
    with _quiet():
        run = _resumed(lambda: Run(specs, data, engine=engine), checkpoint)
        while not run.ended:
            before = copied(run.state()) if run.may_split else None
            record = run.train_epoch()
            left = () if run.crew is None else tuple(run.crew.left)
            for part in left:
                on_fork(Fork(specs=part, state=plain(before), epoch=record.epoch - 1))
            if left and not run.ended:
                state = plain(copied(run.state()))
                run = Run(run.trials, data, engine=engine)
                run.load(state)
            if checkpoint is not None and not run.ended:
                _save(run, checkpoint)
            if on_epoch is not None:
                on_epoch(run.trials, record)
        return run.results()


def _save(run: Run, checkpoint: CheckpointFile) -> None:
    members = tuple(spec.trial for spec in run.trials)
    checkpoint.save_if_due(lambda: plain(run.state()), members=members, epoch=run.epoch)


@contextmanager
def _quiet() -> Generator[None]:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Both are told elsewhere: by the preflight for the whole study, and by a column of the store.
        warnings.simplefilter("ignore", NoEffectWarning)
        warnings.simplefilter("ignore", NonFiniteWarning)
        yield


def _resumed(start: Callable[[], Run], checkpoint: CheckpointFile | None) -> Run:
    """The run where its checkpoint left it, or at its start."""
    run = start()
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
