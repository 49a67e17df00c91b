"""One training run: a model, a seed, an arm; the same bits every time, also after an interruption, alone or shared.

Called by `lab/worker` in a process of its own; makes a `lab/run`, saves it now and then, and gives its results back.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from regrow import errors
from regrow.history import Renewed
from regrow.lab.checkpoint import CheckpointFile, copied, plain
from regrow.lab.data import Dataset
from regrow.lab.engines.choice import Engine, engine_named
from regrow.lab.run import Run
from regrow.lab.weights import Weights, WeightsFile
from regrow.study.document import EngineName
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

OnFork = Callable[[tuple[TrialSpec, ...]], object]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run that is to be trained to its end."""

    # Its trial, or trials of one family (`regrow.lab.sharing.families`).
    specs: tuple[TrialSpec, ...]
    # For a control, the renewals of the trial that it replays.
    like: Sequence[Renewed] | None = None
    # Reads the weights of each of its teachers, when the run begins.
    teachers: tuple[Callable[[], Weights], ...] = ()
    # Where the final weights are kept, where they teach another trial.
    weights: WeightsFile | None = None
    checkpoint: CheckpointFile | None = None  # where to go on from, and where to save


def train_together(
    requests: Sequence[Request],
    data: Dataset,
    *,
    engine: EngineName,
    on_fork: OnFork,
    on_epoch: Callable[[Sequence[TrialSpec], EpochRecord], object],
    on_end: Callable[[Sequence[TrialResult]], object],
) -> None:
    """Train runs side by side, and in each what its trials have in common once.

    A trial leaves its run when the recipe decides otherwise for it than for the run's first trial. It goes on from the
    state at the beginning of that epoch, so that everything that belongs to an epoch (order, augmentation, metrics) is
    its own. All results have the bits of the same trials trained alone in the same engine. In a stack runs have data,
    model and training in common but for the rate and the seed. What is called at a fork, an epoch's and a run's end may
    raise: it ends all runs.
    """
    numerics, hooks = engine_named(engine), engine == "modules"
    with _quiet():
        going = [_Going(request, data, on_fork, hooks=hooks) for request in requests]
        while going:
            for each in going:
                if each.run.ended:
                    on_end(each.results())
            going = [each for each in going if not each.run.ended]
            if going:
                _train_epoch(going, numerics)
                for each in going:
                    on_epoch(each.run.trials, each.run.records[-1])


def shares(seconds: float, own: Sequence[float]) -> list[float]:
    """What runs that were trained side by side took: each what its recipe did, and all the same of the rest.

    An equal part of everything would say of each recipe that it costs what its neighbours cost.

    Examples:
        >>> shares(10.0, [4.0, 0.0])
        [7.0, 3.0]
    """
    rest = (seconds - sum(own)) / len(own)
    return [each + rest for each in own]


def _train_epoch(going: Sequence[_Going], engine: Engine) -> None:
    """One epoch of all runs, and what follows from it for each."""
    for each in going:
        each.begin_epoch()
    members = [(member, each.run.epoch + 1) for each in going for member in each.run.members]
    before = [each.run.recipe_seconds for each in going]
    started = time.perf_counter()
    try:
        networks, epochs = map(list, zip(*members, strict=True))
        trained = iter(engine.train_epoch(networks, epochs))
        finite = iter(engine.finite(networks))
    except Exception:
        # The error is that of the trials that are left in the run: others have parted with it in this epoch.
        for each in going:
            each.part()
        raise
    seconds = time.perf_counter() - started
    own = [each.run.recipe_seconds - past for each, past in zip(going, before, strict=True)]
    for each, took in zip(going, shares(seconds, own), strict=True):
        results = [(next(trained), next(finite)) for _ in each.run.members]
        found, whole = zip(*results, strict=True)
        each.run.trained(found, finite=whole, seconds=took)
        if each.part():
            each.close_ranks()
        each.save()


class _Going:
    """A run that is trained, with the files that belong to it."""

    def __init__(self, request: Request, data: Dataset, on_fork: OnFork, *, hooks: bool) -> None:
        self._request, self._data, self._hooks = request, data, hooks
        self._on_fork = on_fork
        self._before: Any = None
        self.run = self._start()
        checkpoint = request.checkpoint
        if checkpoint is None:
            return
        state = checkpoint.load(members=[spec.trial for spec in request.specs])
        if state is None:
            return
        try:
            self.run.load(state)
        except (errors.StateError, RuntimeError, KeyError, ValueError) as error:
            # Whole by its checksum, yet not of this network: a user's model has changed since.
            checkpoint.set_aside(f"it does not fit the trial ({error})")
            self.run = self._start()

    def _start(self) -> Run:
        asked, teachers = self._request, [read() for read in self._request.teachers]
        return Run(asked.specs, self._data, like=asked.like, teachers=teachers, hooks=self._hooks)

    def begin_epoch(self) -> None:
        # Those that leave the run in this epoch go on from here, and begin it themselves.
        self._before = copied(self.run.state()) if self.run.may_split else None
        self.run.begin_epoch()

    def part(self) -> bool:
        """Give away the trials that have left the run in this epoch; whether there are any."""
        left = [] if self.run.crew is None else self.run.crew.left
        checkpoint = self._request.checkpoint
        parts, left[:] = list(left), []
        for part in parts:
            if checkpoint is None:
                raise RuntimeError(f"{part[0].trial} leaves its run and has no file to go on from")
            names, epoch = [spec.trial for spec in part], len(self._before["records"])
            checkpoint.of(names[0]).save(plain(self._before), members=names, epoch=epoch)
            self._on_fork(part)
        return bool(parts)

    def close_ranks(self) -> None:
        """With those gone who have left it, its recipe is a simpler one."""
        if not self.run.ended:
            state = plain(copied(self.run.state()))
            self.run = Run(self.run.trials, self._data, hooks=self._hooks)
            self.run.load(state)

    def save(self) -> None:
        run, checkpoint = self.run, self._request.checkpoint
        if checkpoint is not None and not run.ended:
            names = [spec.trial for spec in run.trials]
            checkpoint.save_if_due(lambda: plain(run.state()), members=names, epoch=run.epoch)

    def results(self) -> tuple[TrialResult, ...]:
        run, weights = self.run, self._request.weights
        if weights is not None:
            weights.save(run.spec.model, [member.model.state_dict() for member in run.members])
        return run.results()


@contextmanager
def _quiet() -> Generator[None]:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Told elsewhere: by the preflight for the whole study, by a column of the store, in the trial's records.
        for told in (
            errors.NoEffectWarning,
            errors.NonFiniteWarning,
            errors.LargeRenewalWarning,
            errors.LeftAloneWarning,
            errors.GuardWarning,
        ):
            warnings.simplefilter("ignore", told)
        yield
