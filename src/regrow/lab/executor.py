"""All trials of a study: a queue of runs, those who work it off, and the one process that keeps the results.

Called by `cli/run`. The queue is `lab/queue.py`; it is worked off by processes of this machine (`lab/pool.py`) or by a
cluster (`lab/on_ray.py`), and what becomes of it is written into `regrow.study.store`.
"""

from __future__ import annotations

import signal
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from regrow.errors import StoreError
from regrow.history import Renewed
from regrow.lab import worker
from regrow.lab.checkpoint import CheckpointFile, held_states
from regrow.lab.environment import now
from regrow.lab.events import Ended, Event, Noticed, Progressed, Started
from regrow.lab.pool import Processes
from regrow.lab.queue import Batch, Runs, Segment, segments
from regrow.lab.trial import Request
from regrow.lab.weights import Weights, WeightsFile, read_weights
from regrow.study.folder import explained, lost_weights
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.store import Store
from regrow.study.trials import TeacherSpec, TrialSpec

if TYPE_CHECKING:
    from regrow.lab.on_ray import RayTasks

CPU_STACK: Final = 4
"""Networks in a stack on a CPU (`benchmarks/engine_speed.py`)."""

GPU_STACK: Final = 1024
"""Networks in a stack on a GPU, to begin with."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How a run of the executor ended."""

    ended: Counter[str]  # trials that ended in this run, by status
    interrupted: bool  # whether it was asked to stop before all had ended


Workers: TypeAlias = "Processes | RayTasks"
"""Those who work the queue off."""


def run_study(
    specs: Sequence[TrialSpec],
    store: Store,
    *,
    jobs: int,
    settings: worker.WorkerSettings | None = None,
    sharing: bool = True,
    stack_size: int | None = None,
    on_event: Callable[[Event], object] = lambda event: None,
    workers: Workers | None = None,
) -> Tally:
    """Train the trials that are not in the store yet; controls come after what they replay, students after teachers.

    Each result is written by this process, once, when it comes. A trial that raises an error is recorded as crashed and
    the others go on. A worker process that dies (out of memory, killed) is replaced, and its trial goes on from its
    checkpoint; the second death with nothing in between is a crash. Of several trials that were one run each then goes
    on by itself, and of several runs half as many go on together. SIGINT and SIGTERM end the workers at once; all that
    ended is kept, and checkpoints wait for the next run. A store that cannot be written any more is a StoreError.

    Trials that are the same run until a recipe decides otherwise for one of them than for another are trained as one
    (`regrow.lab.sharing`): when they differ, those who leave go to the front of the queue with a checkpoint of the last
    common epoch. No result depends on it, nor on how many networks are in a stack: a few on a CPU, so that their
    numbers stay in its cache, and elsewhere as many as fit, half as many after each failure.
    """
    asked = settings or worker.WorkerSettings()
    size = stack_size or (CPU_STACK if asked.device == "cpu" else GPU_STACK)
    with _stop_signals() as stop, closing(workers or Processes(asked, jobs=jobs)) as those:
        keeper = _Keeper(
            specs,
            store,
            on_event,
            sharing=sharing,
            stack_size=size if asked.engine == "stack" else 1,
            attempts=those.attempts,
            checkpoint_every_s=asked.checkpoint_every_s,
        )
        keeper.fill(those)
        while keeper.runs.busy and not stop.is_set():
            for batch, message in those.messages():
                keeper.take(batch, message)
            keeper.fill(those)
    return Tally(ended=keeper.ended, interrupted=keeper.runs.unfinished)


class _Keeper:
    """Between the runs of a study, those who work them off, and the store."""

    def __init__(
        self,
        specs: Sequence[TrialSpec],
        store: Store,
        on_event: Callable[[Event], object],
        *,
        sharing: bool,
        stack_size: int,
        attempts: int,
        checkpoint_every_s: float,
    ) -> None:
        self._store, self._on_event = store, on_event
        self._checkpoint_every_s = checkpoint_every_s
        self._told: set[str] = set()
        self.ended: Counter[str] = Counter()
        status = store.ended()

        def todo() -> Iterator[TrialSpec]:
            return (spec for spec in specs if spec.trial not in status)

        store.sweep()
        with self._heard():
            names = (spec.trial for spec in todo() if sharing)
            held = held_states(store.checkpoints, names, fingerprint=store.fingerprint)
        _check_teachers(todo(), status, store)
        waiting = segments(todo(), held, sharing=sharing)
        self.runs = Runs(waiting, ended=status, stack_size=stack_size, attempts=attempts)

    def fill(self, workers: Workers) -> None:
        """Give every free worker a batch while there is one."""
        while workers.free:
            batch = self.runs.begin(workers=workers.jobs)
            self._settle()
            if batch is None:
                return
            died = workers.give(batch, tuple(map(self._request, batch)))
            if died is not None:
                self.take(batch, died)
            for run in batch:
                self._on_event(Started(run.specs))

    def take(self, batch: Batch, message: worker.Message | worker.Died) -> None:
        """Take down what became of a batch."""
        match message:
            case worker.Warned():
                self._notice(message.text)
            case worker.Unwritable():
                raise StoreError(message.error)
            case worker.Died():
                self.runs.died(batch, message.how, lost=message.lost)
            case worker.TaskFailed():
                self.runs.failed(batch, message.error)
            case worker.Forked():
                self.runs.part(batch, message.trials)
            case worker.EpochsDone():
                named = set(message.trials)
                run = self.runs.moved(batch, message.trials[0], epoch=message.record.epoch)
                specs = tuple(spec for spec in run.specs if spec.trial in named)
                self._count(specs, message.record, message.epochs, message.samples)
            case worker.RunDone():
                run = self.runs.end(batch, message.results)
                last = message.results[0].last
                if last is not None:
                    self._count(run.specs, last, message.epochs, message.samples)
                self._keep(run, message.results)
        self._settle()

    def _settle(self) -> None:
        """Say and keep what came of it: crashes may follow from crashes."""
        for text in self.runs.notices:
            self._notice(text)
        for run, results in self.runs.crashes:
            self._keep(run, results)
        self.runs.notices.clear()
        self.runs.crashes.clear()

    def _count(
        self, specs: tuple[TrialSpec, ...], record: EpochRecord, epochs: int, samples: int
    ) -> None:
        """What a run has trained since it last said so."""
        trained = epochs * specs[0].partners
        self._store.spent(trained)
        if trained:
            self._on_event(Progressed(specs, record, trained, samples))

    def _request(self, run: Segment) -> Request:
        spec, store = run.specs[0], self._store
        return Request(
            specs=run.specs,
            like=None if spec.like is None else self._replayed(spec.like),
            teachers=tuple(self._reader(spec, teacher) for teacher in spec.teachers),
            weights=self._weights(spec.trial) if spec.keeps_weights else None,
            checkpoint=CheckpointFile(
                store.checkpoint(spec.trial),
                trial=spec.trial,
                fingerprint=store.fingerprint,
                every_s=self._checkpoint_every_s,
            ),
        )

    def _replayed(self, trial: str) -> list[Renewed]:
        return [
            Renewed(step=step, layer=layer, filters=filters, scores=(0.0,) * len(filters))
            for step, layer, filters in self._store.renewals(trial)
        ]

    def _weights(self, trial: str) -> WeightsFile:
        store = self._store
        return WeightsFile(store.weights(trial), trial=trial, fingerprint=store.fingerprint)

    def _reader(self, spec: TrialSpec, teacher: TeacherSpec) -> Callable[[], Weights]:
        if teacher.trial is not None:
            return self._weights(teacher.trial).load
        plain = teacher.model or spec.model
        return partial(read_weights, teacher.path, plain=plain, sha256=teacher.sha256)

    def _keep(self, run: Segment, results: Sequence[TrialResult]) -> None:
        self._store.write(*results, finished_at=now())
        checkpoint = self._store.checkpoint(run.name)
        with self._heard(), explained(checkpoint, "cannot be removed"):
            checkpoint.unlink(missing_ok=True)
        specs = {spec.trial: spec for spec in run.specs}
        for result in results:
            self.ended[result.status] += 1
            self._on_event(Ended(specs[result.trial], result))

    @contextmanager
    def _heard(self) -> Generator[None]:
        """Tell what is warned of as everything else is told."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            self._notice(str(warning.message))

    def _notice(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._on_event(Noticed(text))


def _check_teachers(specs: Iterable[TrialSpec], status: Mapping[str, str], store: Store) -> None:
    """What ended teachers left must be there before anything is trained."""
    for teacher in (teacher for spec in specs for teacher in spec.teachers):
        if teacher.trial is None or status.get(teacher.trial) != "finished":
            continue
        path = store.weights(teacher.trial)
        if not path.is_file():
            raise StoreError(lost_weights(path, teacher.trial, "the file is not there"))


@contextmanager
def _stop_signals() -> Generator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that nothing is interrupted in the middle of a write."""
    stop = threading.Event()

    def ask(*_: object) -> None:
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
