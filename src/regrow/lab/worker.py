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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regrow.errors import RegrowError, StoreError
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.lab.sharing import Batch
    from regrow.lab.trial import Request
    from regrow.study.document import EngineName

_PR_SET_PDEATHSIG = 1

_TICK_S: Final = 0.2
"""How long the parent waits at most before it looks whether it was asked to stop."""

START: Final = "spawn"
"""How a worker begins, as multiprocessing names it: as a program of its own, with nothing of this one."""

TELL_EVERY_S: Final = 0.05
"""Least time between two messages of a run that trains."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker needs to know once.

    Attributes:
        data_dir: Folder with data sets, or None.
        cache_dir: Folder for fetched data sets, or None.
        checkpoint_every_s: Least time between two checkpoints of a trial; 0 = after each epoch.
        engine: What makes the steps.
        device: Where networks are trained.
    """

    data_dir: Path | None = None
    cache_dir: Path | None = None
    checkpoint_every_s: float = 1.0
    engine: EngineName = "modules"
    device: str = "cpu"


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
    """Train what comes through the connection, until it says None or the parent is gone."""
    _end_with_parent()
    sys.stdout = sys.stderr  # what a user's model prints; standard output is for results
    # The terminal's Ctrl-C reaches every process of the group; the parent alone decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    import torch  # noqa: PLC0415 # after the thread count

    torch.set_num_threads(1)

    def tell(text: Any, *_: object) -> None:
        connection.send(Warned(str(text)))

    warnings.showwarning = tell
    bench = _Bench(settings, connection.send)
    try:
        while (task := connection.recv()) is not None:
            bench.train(task)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone; what it had kept is kept


class _Bench:
    """Where a worker trains: what it must know, whom it tells, and the data sets that it has met, loaded once."""

    def __init__(self, settings: WorkerSettings, send: Callable[[Message], None]) -> None:
        self._settings, self._send = settings, send
        self._held: dict[str, Dataset] = {}

    def train(self, task: Sequence[Request]) -> None:
        """Train all runs of a task, and say so if that fails."""
        try:
            self._train(task)
        except StoreError as error:
            self._send(Unwritable(str(error)))
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # whatever a trial raises is its result; the others go on
            self._send(TaskFailed(_one_line(error)))

    def _train(self, task: Sequence[Request]) -> None:
        from regrow.lab.trial import train_together  # noqa: PLC0415 # loads torch

        first, send, settings = task[0].specs[0], self._send, self._settings
        data = self._data(first)
        samples = first.partners * (len(data.x_train) - first.train.held_out)
        every_s = min(TELL_EVERY_S, settings.checkpoint_every_s)
        telling = {
            run.specs[0].trial: _Telling(send, samples=samples, every_s=every_s) for run in task
        }
        train_together(
            task,
            data,
            engine=settings.engine,
            on_fork=lambda specs: send(Forked(tuple(spec.trial for spec in specs))),
            on_epoch=lambda specs, record: telling[specs[0].trial](specs, record),
            on_end=lambda results: send(RunDone(tuple(results), *telling[results[0].trial].rest())),
        )

    def _data(self, spec: TrialSpec) -> Dataset:
        from regrow.lab import data  # noqa: PLC0415 # loads numpy

        asked, settings = spec.data, self._settings
        key = json.dumps([asked.name, asked.settings], sort_keys=True)
        if key not in self._held:
            folders = {"data_dir": settings.data_dir, "cache_dir": settings.cache_dir}
            found = data.load(asked.name, settings=asked.settings, **folders)
            self._held[key] = found.to(settings.device)
        return self._held[key]


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


@dataclass(frozen=True)
class Died:
    """A worker process is gone."""

    how: str


@dataclass
class Worker:
    """A process, and what it was given last: nothing of that is left when it is free."""

    process: BaseProcess
    connection: Connection
    batch: Batch = field(default_factory=list[Any])


class Processes:
    """So many processes at most, each with one batch of runs."""

    def __init__(self, settings: WorkerSettings, *, jobs: int) -> None:
        self._settings, self._jobs = settings, jobs
        self._workers: list[Worker] = []

    @property
    def free(self) -> bool:
        """Whether one has nothing to do, or another may be started."""
        return len(self._workers) < self._jobs or any(not each.batch for each in self._workers)

    def give(self, batch: Batch, task: Sequence[Request]) -> Died | None:
        """Let a free worker train a batch; it may have died meanwhile."""
        worker = next((each for each in self._workers if not each.batch), None) or self._start()
        worker.batch = batch
        try:
            worker.connection.send(task)
        except OSError:
            return self._bury(worker)
        return None

    def messages(self) -> Iterator[tuple[Batch, Message | Died]]:
        """What the workers say, for one tick at most."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for ready in wait(list(by_connection), timeout=_TICK_S):
            worker = by_connection[ready]  # pyright: ignore[reportArgumentType] # only connections were given
            try:
                message: Message | Died = worker.connection.recv()
            except (EOFError, OSError):
                message = self._bury(worker)
            yield worker.batch, message

    def close(self) -> None:
        """End the workers, whatever they do: results are kept, and checkpoints are whole or absent."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def _start(self) -> Worker:
        context = multiprocessing.get_context(START)
        mine, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self._settings), daemon=True)
        process.start()
        theirs.close()
        worker = Worker(process, mine)  # pyright: ignore[reportArgumentType] # Windows' kind is another
        self._workers.append(worker)
        return worker

    def _bury(self, worker: Worker) -> Died:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        code = worker.process.exitcode or 0
        return Died(
            f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        )
