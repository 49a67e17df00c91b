"""The worker's side of a study: a process of one thread that trains one trial after the other.

This module imports nothing heavy, so that the thread count is set before torch is loaded.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regrow.errors import RegrowError, StoreError
from regrow.study.folder import checkpoint_path
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

if TYPE_CHECKING:
    from regrow.lab.checkpoint import CheckpointFile
    from regrow.lab.data import Dataset
    from regrow.lab.trial import Request
    from regrow.lab.weights import Weights
    from regrow.study.document import EngineName

_PR_SET_PDEATHSIG = 1

TELL_EVERY_S: Final = 0.05
"""Least time between two messages of a run that trains."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker is told once.

    Attributes:
        data_dir: Folder with data sets, or None.
        cache_dir: Folder for fetched data sets, or None.
        fingerprint: Hash of what determines the results.
        checkpoint_every_s: Least time between two checkpoints.
        checkpoints: Folder of the checkpoints.
        engine: What makes the steps.
        device: Where networks are trained.
    """

    data_dir: Path | None
    cache_dir: Path | None
    fingerprint: str
    checkpoint_every_s: float
    checkpoints: Path
    engine: EngineName = "modules"
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class RunTask:
    """One run to train.

    Attributes:
        specs: Its trial, or the trials that are one run as far as anybody knows.
        like: For a control, the renewals that it replays: step, layer, filters. None otherwise.
        weights: Where its final weights will lie, if it teaches another trial. None otherwise.
        teachers: Where the weights of each of its teachers lie.
    """

    specs: tuple[TrialSpec, ...]
    like: tuple[tuple[int, str, tuple[int, ...]], ...] | None = None
    weights: Path | None = None
    teachers: tuple[Path, ...] = ()


Task = tuple[RunTask, ...]
"""Runs to train side by side, with data, model and training in common."""


@dataclass(frozen=True)
class EpochsDone:
    """A run has trained on.

    Attributes:
        trials: Those that it still is.
        record: Its newest epoch.
        epochs: How many it has trained since it last said so.
        samples: Training images of these, over all networks.
    """

    trials: tuple[str, ...]
    record: EpochRecord
    epochs: int
    samples: int


@dataclass(frozen=True)
class Forked:
    """Trials have left a run; their state lies where the first of them has its checkpoint."""

    trials: tuple[str, ...]


@dataclass(frozen=True)
class RunDone:
    """All trials that a run still was have ended.

    Attributes:
        results: One a trial.
        epochs: What it has trained since `EpochsDone`.
        samples: Likewise.
    """

    results: tuple[TrialResult, ...]
    epochs: int
    samples: int


@dataclass(frozen=True)
class TaskFailed:
    """Training has raised an error: the runs that have not ended stop, and the worker goes on with the next task."""

    error: str


@dataclass(frozen=True)
class Warned:
    """Something that a user should know."""

    text: str


@dataclass(frozen=True)
class Unwritable:
    """Checkpoints cannot be written: the whole study must stop."""

    error: str


Message = EpochsDone | Forked | RunDone | TaskFailed | Warned | Unwritable


def work(connection: Connection, settings: WorkerSettings) -> None:
    """Train what comes through the connection, until it says None or the parent is gone.

    Args:
        connection: Tasks in, messages out.
        settings: What all tasks share.
    """
    _end_with_parent()
    sys.stdout = sys.stderr  # what a user's model prints; standard output is for results
    # The terminal's Ctrl-C reaches every process of the group; the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import torch  # noqa: PLC0415 # after the thread count

    torch.set_num_threads(1)

    def tell(text: Any, category: type[Warning], *rest: Any) -> None:
        del category, rest
        connection.send(Warned(str(text)))

    warnings.showwarning = tell
    data = _DataShelf(settings)
    try:
        while (task := connection.recv()) is not None:
            failed = _train(task, data, settings, send=connection.send)
            if failed is not None:
                connection.send(failed)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone; what it had kept is kept


def _train(
    task: Task,
    shelf: _DataShelf,
    settings: WorkerSettings,
    *,
    send: Callable[[Message], None],
) -> Message | None:
    """Train all runs of a task; what is to be said when that fails."""
    try:
        _train_runs(task, shelf.get(task[0].specs[0]), settings, send=send)
    except StoreError as error:
        return Unwritable(str(error))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # whatever a trial raises is its result; the others go on
        return TaskFailed(_one_line(error))
    return None


def _train_runs(
    task: Task, data: Dataset, settings: WorkerSettings, *, send: Callable[[Message], None]
) -> None:
    from regrow.lab.trial import Fork, train_together  # noqa: PLC0415 # loads torch

    first = task[0].specs[0]
    telling = {
        spec.trial: _Telling(
            send,
            samples=first.partners * (len(data.x_train) - first.train.held_out),
            every_s=min(TELL_EVERY_S, settings.checkpoint_every_s),
        )
        for spec in (run.specs[0] for run in task)
    }

    def keep(fork: Fork) -> None:
        names = tuple(spec.trial for spec in fork.specs)
        _checkpoint(names[0], settings).save(fork.state, members=names, epoch=fork.epoch)
        send(Forked(names))

    train_together(
        [_request(run, settings) for run in task],
        data,
        engine=settings.engine,
        on_fork=keep,
        on_epoch=lambda specs, record: telling[specs[0].trial](specs, record),
        on_end=lambda results: send(RunDone(tuple(results), *telling[results[0].trial].rest())),
    )


def _request(run: RunTask, settings: WorkerSettings) -> Request:
    from regrow.history import Renewed  # noqa: PLC0415 # these load torch
    from regrow.lab.trial import Request  # noqa: PLC0415
    from regrow.lab.weights import WeightsFile  # noqa: PLC0415

    trial = run.specs[0].trial
    like: list[Renewed] | None = None
    if run.like is not None:
        like = [
            Renewed(step=step, layer=layer, filters=filters, scores=(0.0,) * len(filters))
            for step, layer, filters in run.like
        ]
    return Request(
        specs=run.specs,
        like=like,
        teachers=tuple(_taught_by(run, settings)),
        weights=None
        if run.weights is None
        else WeightsFile(run.weights, trial=trial, fingerprint=settings.fingerprint),
        checkpoint=_checkpoint(trial, settings),
    )


def _checkpoint(trial: str, settings: WorkerSettings) -> CheckpointFile:
    from regrow.lab.checkpoint import CheckpointFile  # noqa: PLC0415 # loads torch

    return CheckpointFile(
        checkpoint_path(settings.checkpoints, trial),
        trial=trial,
        fingerprint=settings.fingerprint,
        every_s=settings.checkpoint_every_s,
    )


class _Telling:
    """Tells the parent how far a run is, a few times a second, and ends the worker when there is no parent."""

    def __init__(self, send: Callable[[Message], None], *, samples: int, every_s: float) -> None:
        self._send, self._samples, self._every_s = send, samples, every_s
        self._epochs = 0
        self._last = 0.0

    def __call__(self, specs: Sequence[TrialSpec], record: EpochRecord) -> None:
        self._epochs += 1
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        _end_without_parent()
        trials = tuple(spec.trial for spec in specs)
        self._send(EpochsDone(trials, record, *self.rest()))
        self._last = now

    def rest(self) -> tuple[int, int]:
        """Epochs and samples that were not told yet; they count as told then."""
        epochs, self._epochs = self._epochs, 0
        return epochs, epochs * self._samples


def _taught_by(task: RunTask, settings: WorkerSettings) -> list[Weights]:
    """The weights of a trial's teachers, read and checked."""
    from regrow.lab.weights import WeightsFile, read_weights  # noqa: PLC0415 # loads torch

    found: list[Weights] = []
    spec = task.specs[0]
    for teacher, path in zip(spec.teachers, task.teachers, strict=True):
        if teacher.trial is None:
            plain = teacher.model or spec.model
            found.append(read_weights(str(path), plain=plain, sha256=teacher.sha256))
        else:
            file = WeightsFile(path, trial=teacher.trial, fingerprint=settings.fingerprint)
            found.append(file.load())
    return found


class _DataShelf:
    """The data sets that this worker has met, loaded once."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._held: dict[str, Dataset] = {}

    def get(self, spec: TrialSpec) -> Dataset:
        from regrow.lab import data  # noqa: PLC0415

        key = json.dumps([spec.data.name, spec.data.settings], sort_keys=True)
        if key not in self._held:
            self._held[key] = data.load(
                spec.data.name,
                settings=spec.data.settings,
                data_dir=self._settings.data_dir,
                cache_dir=self._settings.cache_dir,
            ).to(self._settings.device)
        return self._held[key]


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent dies, where the kernel can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _end_without_parent()  # it may have died before the line above


def _end_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)


def _one_line(error: Exception) -> str:
    """The error with the place where it was raised; regrow's own messages name their place."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, RegrowError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text
