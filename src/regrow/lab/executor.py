"""All trials of a study on this machine: worker processes of one thread each, and a parent that keeps the results."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Final

from regrow.errors import StoreError
from regrow.lab.checkpoint import Held
from regrow.lab.engines import EngineName
from regrow.lab.environment import now
from regrow.lab.events import Ended, Event, Noticed, Progressed, Started
from regrow.lab.outcome import EpochRecord, TrialResult
from regrow.lab.sharing import RunQueue, Segment, segments
from regrow.lab.sharing.queue import Turn
from regrow.lab.store import Store, lost_weights
from regrow.lab.trials import TrialSpec
from regrow.lab.worker import (
    EpochsDone,
    Forked,
    Message,
    RunTask,
    TaskFailed,
    Unwritable,
    Warned,
    WorkerSettings,
    work,
)

_TICK_S: Final = 0.2
"""How long the parent waits at most before it looks whether it was asked to stop."""

_ATTEMPTS: Final = 2
"""How often a run is begun whose worker process dies."""

CPU_STACK: Final = 4
"""Networks in a stack on a CPU (`benchmarks/engine_speed.py`)."""

GPU_STACK: Final = 1024
"""Networks in a stack on a GPU, to begin with."""


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
    runs: list[Segment] = field(default_factory=list[Segment])


def run_study(
    specs: Sequence[TrialSpec],
    store: Store,
    *,
    jobs: int,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    checkpoint_every_s: float = 1.0,
    engine: EngineName = "modules",
    sharing: bool = True,
    device: str = "cpu",
    stack_size: int | None = None,
    on_event: Callable[[Event], object] = lambda event: None,
) -> Tally:
    """Train the trials that are not in the store yet.

    Each result is written by this process, once, when it comes. A trial that raises an error is
    recorded as crashed and the others go on. A worker process that dies (out of memory, killed) is
    replaced, and its trial goes on from its checkpoint once; the second death is a crash. Of several
    trials that were one run each then goes on by itself, and of several runs half as many go on together. SIGINT and
    SIGTERM end the workers at once; all that ended is kept, and checkpoints wait for the next run.

    Trials that are the same run until a recipe decides otherwise for one of them than for another are trained as one
    (`regrow.lab.sharing`): when they differ, those who leave go to the front of the queue with a checkpoint of the
    last common epoch. No result depends on it.

    Args:
        specs: All trials of the study, a control after the trial that it replays, a student after its teachers.
        store: Where results go; held open by the caller.
        jobs: Number of worker processes.
        data_dir: Folder with data sets.
        cache_dir: Folder for fetched data sets.
        checkpoint_every_s: Least time between two checkpoints of a trial; 0 = after each epoch.
        engine: What makes the steps; it is part of the store's fingerprint.
        sharing: Train what trials have in common once.
        device: Where networks are trained, as torch names it.
        stack_size: Networks that a worker trains side by side in a stack; None: a few on a CPU, so that their numbers
            stay in its cache, and elsewhere as many as fit: half as many after each failure.
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
        checkpoints=store.checkpoints,
        engine=engine,
        device=device,
    )
    size = stack_size or (CPU_STACK if device == "cpu" else GPU_STACK)
    pool = _Pool(
        specs,
        store,
        settings,
        on_event,
        sharing=sharing,
        stack_size=size if engine == "stack" else 1,
    )
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
    """The workers, and the queue of runs that wait for one."""

    def __init__(
        self,
        specs: Sequence[TrialSpec],
        store: Store,
        settings: WorkerSettings,
        on_event: Callable[[Event], object],
        *,
        sharing: bool,
        stack_size: int,
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_event = on_event
        self._status = store.ended()
        self._attempts: Counter[str] = Counter()
        self._workers: list[_Worker] = []
        self._told: set[str] = set()
        self.ended: Counter[str] = Counter()
        todo = [spec for spec in specs if spec.trial not in self._status]
        store.sweep()
        held = self._held(todo) if sharing else {}
        self._waiting = RunQueue(segments(todo, held, sharing=sharing), stack_size=stack_size)
        self._check_teachers()

    def _held(self, todo: Sequence[TrialSpec]) -> dict[str, Held]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            held = self._store.held(spec.trial for spec in todo)
        for warning in caught:
            self._notice(str(warning.message))
        return held

    @property
    def busy(self) -> bool:
        """Whether any worker has a run."""
        return any(worker.runs for worker in self._workers)

    @property
    def unfinished(self) -> bool:
        """Whether any trial has not ended."""
        return self.busy or bool(self._waiting)

    def fill(self, jobs: int) -> None:
        """Give every free worker a run, and start workers while there are runs for them."""
        while any(not worker.runs for worker in self._workers) or len(self._workers) < jobs:
            first = self._waiting.next(self._turn)
            if first is None:
                return
            worker = next((each for each in self._workers if not each.runs), None)
            worker = worker or self._start()
            share = -(-(len(self._waiting) + 1) // jobs)  # so that no worker is left without
            worker.runs = [first, *self._waiting.beside(first, most=share)]
            self._attempts.update(run.name for run in worker.runs)
            try:
                worker.connection.send(tuple(self._task(run) for run in worker.runs))
            except OSError:
                self._bury(worker)
                continue
            for run in worker.runs:
                self._on_event(Started(run.specs))

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

    def _turn(self, run: Segment) -> Turn:
        """Whether a run can begin; one that never can is recorded as crashed."""
        reason = self._hopeless(run.specs[0])
        if reason:
            self._crashed(run, reason)
            return "drop"
        return "begin" if all(trial in self._status for trial in run.after) else "wait"

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
        for spec in (spec for segment in self._waiting for spec in segment.specs):
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

    def _task(self, segment: Segment) -> RunTask:
        spec = segment.specs[0]
        like = None if spec.like is None else tuple(self._store.renewals(spec.like))
        return RunTask(
            specs=segment.specs,
            like=like,
            weights=self._store.weights(spec.trial) if spec.keeps_weights else None,
            teachers=tuple(
                Path(teacher.path) if teacher.trial is None else self._store.weights(teacher.trial)
                for teacher in spec.teachers
            ),
        )

    def _take(self, worker: _Worker, message: Message) -> None:
        if isinstance(message, Warned):
            self._notice(message.text)
        elif isinstance(message, Unwritable):
            raise StoreError(message.error)
        elif isinstance(message, TaskFailed):
            runs, worker.runs = worker.runs, []
            if len(runs) == 1:
                self._crashed(runs[0], message.error)
            else:
                self._halve(runs, message.error)
        elif isinstance(message, EpochsDone):
            run = _run_of(worker, message.trials[0])
            named = set(message.trials)
            specs = tuple(spec for spec in run.specs if spec.trial in named)
            self._count(specs, message.record, message.epochs, message.samples)
        elif isinstance(message, Forked):
            self._part(worker, message)
        else:
            run = _run_of(worker, message.results[0].trial)
            last = message.results[0].last
            if last is not None:
                self._count(run.specs, last, message.epochs, message.samples)
            worker.runs.remove(run)
            self._keep(run, message.results)

    def _count(
        self, specs: tuple[TrialSpec, ...], record: EpochRecord, epochs: int, samples: int
    ) -> None:
        """What a run has trained since it last said so."""
        trained = epochs * specs[0].partners
        self._store.spent(trained)
        if trained:
            self._on_event(Progressed(specs, record, trained, samples))

    def _part(self, worker: _Worker, message: Forked) -> None:
        """Trials have left a run: they are a run of their own, and the next to begin, while their file is fresh."""
        run = _run_of(worker, message.trials[0])
        by_name = {spec.trial: spec for spec in run.specs}
        # In the order of the message: its first trial has named the file.
        leave = tuple(by_name.pop(trial) for trial in message.trials)
        stay = replace(run, specs=tuple(by_name.values()))
        worker.runs[worker.runs.index(run)] = stay
        self._waiting.put_first(replace(run, specs=leave))

    def _bury(self, worker: _Worker) -> None:
        """A worker has died: its run goes on in another, once; of several, half as many side by side."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if not worker.runs:
            return
        code = worker.process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        run = worker.runs[0]
        if len(worker.runs) > 1:
            self._halve(worker.runs, f"their process died ({how})")
        elif self._attempts[run.name] < _ATTEMPTS:
            self._notice(f"{_told(run)}: its process died ({how}); it goes on in a new one")
            self._waiting.put_first(run)
        elif len(run.specs) > 1:
            self._notice(f"{_told(run)}: their process died again ({how}); each goes on by itself")
            self._waiting.put_first(*(replace(run, specs=(spec,)) for spec in run.specs))
            self._attempts[run.name] = 0
        else:
            self._crashed(run, f"its process died {_ATTEMPTS} times ({how}); out of memory?")

    def _halve(self, runs: Sequence[Segment], error: str) -> None:
        """Nobody knows which of several runs failed, or whether they are too many: half as many go on together."""
        size = max(len(runs) // 2, 1)
        self._notice(
            f"{len(runs)} runs side by side stopped: {error}; from now on at most {size} of them are trained together"
        )
        self._attempts.subtract(run.name for run in runs)
        self._waiting.put_first(*(replace(run, beside=size) for run in runs))

    def _crashed(self, segment: Segment, error: str) -> None:
        results = [
            TrialResult(
                trial=spec.trial,
                cell=spec.cell,
                arm=spec.label,
                seed=spec.seed,
                status="crashed",
                error=error,
            )
            for spec in segment.specs
        ]
        self._keep(segment, results)

    def _keep(self, segment: Segment, results: Sequence[TrialResult]) -> None:
        self._store.write(*results, finished_at=now())
        self._store.checkpoint(segment.name).unlink(missing_ok=True)
        specs = {spec.trial: spec for spec in segment.specs}
        for result in results:
            self._status[result.trial] = result.status
            self.ended[result.status] += 1
            self._on_event(Ended(specs[result.trial], result))

    def _notice(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._on_event(Noticed(text))


def _run_of(worker: _Worker, trial: str) -> Segment:
    """The run of a worker that a trial is in."""
    for run in worker.runs:
        if any(spec.trial == trial for spec in run.specs):
            return run
    raise RuntimeError(f"a worker speaks of {trial}, which it was not given")


def _told(segment: Segment) -> str:
    more = len(segment.specs) - 1
    return segment.name + (f" and {more} more that are one run with it" if more else "")


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
