"""All trials of a study on this machine: worker processes of one thread each, and a parent that keeps the results."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Final

from regrow.errors import StoreError
from regrow.lab.environment import now
from regrow.lab.events import Ended, Event, Noticed, Progressed, Started
from regrow.lab.outcome import TrialResult
from regrow.lab.store import Store, lost_weights
from regrow.lab.trials import TrialSpec
from regrow.lab.worker import (
    EpochDone,
    Message,
    Task,
    TrialDone,
    Unwritable,
    Warned,
    WorkerSettings,
    work,
)

_TICK_S: Final = 0.2
"""How long the parent waits at most before it looks whether it was asked to stop."""

_ATTEMPTS: Final = 2
"""How often a trial is begun whose worker process dies."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How a run of the executor ended.

    Attributes:
        ended: Trials that ended in this run, by status.
        interrupted: Whether it was asked to stop before all had ended.
    """

    ended: Counter[str]
    interrupted: bool


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    spec: TrialSpec | None = None


def run_study(
    specs: Sequence[TrialSpec],
    store: Store,
    *,
    jobs: int,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    checkpoint_every_s: float = 1.0,
    on_event: Callable[[Event], object] = lambda event: None,
) -> Tally:
    """Train the trials that are not in the store yet.

    Each result is written by this process, once, when it comes. A trial that raises an error is
    recorded as crashed and the others go on. A worker process that dies (out of memory, killed) is
    replaced, and its trial goes on from its checkpoint once; the second death is a crash. SIGINT and
    SIGTERM end the workers at once; all that ended is kept, and checkpoints wait for the next run.

    Args:
        specs: All trials of the study, a control after the trial that it replays, a student after its teachers.
        store: Where results go; held open by the caller.
        jobs: Number of worker processes.
        data_dir: Folder with data sets.
        cache_dir: Folder for fetched data sets.
        checkpoint_every_s: Least time between two checkpoints of a trial; 0 = after each epoch.
        on_event: Told what happens, in this process.

    Returns:
        What ended, and whether the run was interrupted.

    Edge cases:
        Results, checkpoints or weights cannot be written any more, or the weights of a teacher that ended are missing
        or damaged: a StoreError; what was written stays.
    """
    settings = WorkerSettings(
        parent=os.getpid(),
        data_dir=data_dir,
        cache_dir=cache_dir,
        fingerprint=store.fingerprint,
        checkpoint_every_s=checkpoint_every_s,
    )
    pool = _Pool(specs, store, settings, on_event)
    with _stop_signals() as stop:
        try:
            pool.fill(jobs)
            while pool.busy and not stop.is_set():
                pool.listen()
                pool.fill(jobs)
        finally:
            pool.close()
    return Tally(ended=pool.ended, interrupted=pool.unfinished)


class _Pool:
    """The workers, and the queue of trials that wait for one."""

    def __init__(
        self,
        specs: Sequence[TrialSpec],
        store: Store,
        settings: WorkerSettings,
        on_event: Callable[[Event], object],
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_event = on_event
        self._status = store.ended()
        self._waiting = [spec for spec in specs if spec.trial not in self._status]
        self._attempts: Counter[str] = Counter()
        self._workers: list[_Worker] = []
        self._told: set[str] = set()
        self.ended: Counter[str] = Counter()
        self._check_teachers()
        store.sweep(spec.trial for spec in self._waiting)

    @property
    def busy(self) -> bool:
        """Whether any worker has a trial."""
        return any(worker.spec is not None for worker in self._workers)

    @property
    def unfinished(self) -> bool:
        """Whether any trial has not ended."""
        return self.busy or bool(self._waiting)

    def fill(self, jobs: int) -> None:
        """Give every free worker a trial, and start workers while there are trials for them."""
        while (spec := self._next()) is not None:
            worker = next((worker for worker in self._workers if worker.spec is None), None)
            if worker is None:
                if len(self._workers) >= jobs:
                    return
                worker = self._start()
            self._waiting.remove(spec)
            worker.spec = spec
            self._attempts[spec.trial] += 1
            try:
                worker.connection.send(self._task(spec))
            except OSError:
                self._bury(worker)
                continue
            self._on_event(Started(spec))

    def listen(self) -> None:
        """Take what the workers say, for one tick at most."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for ready in wait(list(by_connection), timeout=_TICK_S):
            worker = by_connection[ready]  # pyright: ignore[reportArgumentType] # only connections were given
            try:
                message: Message = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
            else:
                self._take(worker, message)

    def close(self) -> None:
        """End the workers, whatever they do: results are here, and checkpoints are whole or absent."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def _next(self) -> TrialSpec | None:
        """The first trial that can begin; those that never can are recorded as crashed on the way."""
        for spec in list(self._waiting):
            reason = self._hopeless(spec)
            if reason:
                self._waiting.remove(spec)
                self._crashed(spec, reason)
            elif all(trial in self._status for trial in spec.after):
                return spec
        return None

    def _hopeless(self, spec: TrialSpec) -> str:
        """Why a trial can never begin; empty if it can."""
        if spec.like is not None and self._status.get(spec.like) == "crashed":
            return f"the trial that it replays, {spec.like}, has crashed"
        for teacher in spec.teachers:
            status = None if teacher.trial is None else self._status.get(teacher.trial)
            if status in {"crashed", "diverged"}:
                return f"its teacher, {teacher.trial}, has {status}"
        return ""

    def _check_teachers(self) -> None:
        """What ended teachers left must be there before anything is trained."""
        for spec in self._waiting:
            for teacher in spec.teachers:
                if teacher.trial is None or self._status.get(teacher.trial) != "finished":
                    continue
                path = self._store.weights(teacher.trial)
                if not path.is_file():
                    raise StoreError(lost_weights(path, teacher.trial, "the file is not there"))

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self._settings), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, mine)  # pyright: ignore[reportArgumentType] # Windows' kind is another
        self._workers.append(worker)
        return worker

    def _task(self, spec: TrialSpec) -> Task:
        like = None if spec.like is None else tuple(self._store.renewals(spec.like))
        return Task(
            spec=spec,
            checkpoint=self._store.checkpoint(spec.trial),
            like=like,
            weights=self._store.weights(spec.trial) if spec.keeps_weights else None,
            teachers=tuple(
                Path(teacher.path) if teacher.trial is None else self._store.weights(teacher.trial)
                for teacher in spec.teachers
            ),
        )

    def _take(self, worker: _Worker, message: Message) -> None:
        spec = worker.spec
        if isinstance(message, Warned):
            self._notice(message.text)
        elif isinstance(message, Unwritable):
            raise StoreError(message.error)
        elif spec is None:
            raise RuntimeError(f"a worker without a trial says {message!r}")
        elif isinstance(message, EpochDone):
            self._on_event(Progressed(spec, message.record))
        else:
            worker.spec = None
            if isinstance(message, TrialDone):
                self._keep(spec, message.result)
            else:
                self._crashed(spec, message.error)

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its trial goes on in another, once."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        spec = worker.spec
        if spec is None:
            return
        code = worker.process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if self._attempts[spec.trial] < _ATTEMPTS:
            self._notice(f"{spec.trial}: its process died ({how}); it goes on in a new one")
            self._waiting.insert(0, spec)
        else:
            self._crashed(spec, f"its process died {_ATTEMPTS} times ({how}); out of memory?")

    def _crashed(self, spec: TrialSpec, error: str) -> None:
        result = TrialResult(
            trial=spec.trial,
            cell=spec.cell,
            arm=spec.label,
            seed=spec.seed,
            status="crashed",
            error=error,
        )
        self._keep(spec, result)

    def _keep(self, spec: TrialSpec, result: TrialResult) -> None:
        self._store.write(result, finished_at=now())
        self._store.checkpoint(spec.trial).unlink(missing_ok=True)
        self._status[spec.trial] = result.status
        self.ended[result.status] += 1
        self._on_event(Ended(spec, result))

    def _notice(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._on_event(Noticed(text))


@contextmanager
def _stop_signals() -> Generator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that nothing is interrupted in the middle of a write."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
