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
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrow.errors import RegrowError, StoreError
from regrow.lab.outcome import EpochRecord, TrialResult
from regrow.lab.trials import TrialSpec

if TYPE_CHECKING:
    from regrow.history import Renewed
    from regrow.lab.data import Dataset
    from regrow.lab.weights import Weights

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker is told once.

    Attributes:
        parent: Process id of the parent.
        data_dir: Folder with data sets, or None.
        cache_dir: Folder for fetched data sets, or None.
        fingerprint: Hash of what determines the results.
        checkpoint_every_s: Least time between two checkpoints.
    """

    parent: int
    data_dir: Path | None
    cache_dir: Path | None
    fingerprint: str
    checkpoint_every_s: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial to train.

    Attributes:
        spec: The trial.
        checkpoint: Where its checkpoint lies or will lie.
        like: For a control, the renewals that it replays: step, layer, filters. None otherwise.
        weights: Where its final weights will lie, if it teaches another trial. None otherwise.
        teachers: Where the weights of each of its teachers lie.
    """

    spec: TrialSpec
    checkpoint: Path
    like: tuple[tuple[int, str, tuple[int, ...]], ...] | None = None
    weights: Path | None = None
    teachers: tuple[Path, ...] = ()


@dataclass(frozen=True)
class EpochDone:
    """A trial has trained one more epoch."""

    trial: str
    record: EpochRecord


@dataclass(frozen=True)
class TrialDone:
    """A trial has ended."""

    result: TrialResult


@dataclass(frozen=True)
class TrialFailed:
    """A trial has raised an error; the worker goes on with the next."""

    trial: str
    error: str


@dataclass(frozen=True)
class Warned:
    """Something that a user should know."""

    text: str


@dataclass(frozen=True)
class Unwritable:
    """Checkpoints cannot be written: the whole study must stop."""

    error: str


Message = EpochDone | TrialDone | TrialFailed | Warned | Unwritable


def work(connection: Connection, settings: WorkerSettings) -> None:
    """Train what comes through the connection, until it says None or the parent is gone.

    Args:
        connection: Tasks in, messages out.
        settings: What all tasks share.
    """
    _end_with_parent(settings.parent)
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
            connection.send(_train(task, data, settings, send=connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone; what it had kept is kept


def _train(
    task: Task,
    shelf: _DataShelf,
    settings: WorkerSettings,
    *,
    send: Callable[[Message], None],
) -> Message:
    from regrow.history import Renewed  # noqa: PLC0415 # these load torch
    from regrow.lab.checkpoint import CheckpointFile  # noqa: PLC0415
    from regrow.lab.trial import run_trial  # noqa: PLC0415
    from regrow.lab.weights import WeightsFile  # noqa: PLC0415

    trial = task.spec.trial
    like: list[Renewed] | None = None
    if task.like is not None:
        like = [
            Renewed(step=step, layer=layer, filters=filters, scores=(0.0,) * len(filters))
            for step, layer, filters in task.like
        ]

    def on_epoch(record: EpochRecord) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise SystemExit(1)
        send(EpochDone(trial, record))

    try:
        result = run_trial(
            task.spec,
            shelf.get(task.spec),
            like=like,
            teachers=_taught_by(task, settings),
            weights=None
            if task.weights is None
            else WeightsFile(task.weights, trial=trial, fingerprint=settings.fingerprint),
            checkpoint=CheckpointFile(
                task.checkpoint,
                trial=trial,
                fingerprint=settings.fingerprint,
                every_s=settings.checkpoint_every_s,
            ),
            on_epoch=on_epoch,
        )
    except StoreError as error:
        return Unwritable(str(error))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # whatever a trial raises is its result; the others go on
        return TrialFailed(trial, _one_line(error))
    return TrialDone(result)


def _taught_by(task: Task, settings: WorkerSettings) -> list[Weights]:
    """The weights of a trial's teachers, read and checked."""
    from regrow.lab.weights import WeightsFile, read_weights  # noqa: PLC0415 # loads torch

    found: list[Weights] = []
    for teacher, path in zip(task.spec.teachers, task.teachers, strict=True):
        if teacher.trial is None:
            plain = teacher.model or task.spec.model
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
            )
        return self._held[key]


def _end_with_parent(parent: int) -> None:
    """Let the kernel end this process when its parent dies, where the kernel can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(1)


def _one_line(error: Exception) -> str:
    """The error with the place where it was raised; regrow's own messages name their place."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, RegrowError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text
