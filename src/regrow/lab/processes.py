"""Worker processes of this machine: started when there is work, and what they say, one message after the other."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from regrow.lab.runs import Batch
from regrow.lab.worker import Message, Task, WorkerSettings, work

START: Final = "spawn"
"""How a worker begins, as multiprocessing names it: as a program of its own, with nothing of this one."""

_TICK_S: Final = 0.2
"""How long the parent waits at most before it looks whether it was asked to stop."""


@dataclass(frozen=True)
class Died:
    """A worker process is gone."""

    how: str


@dataclass
class Worker:
    """A process, and what it was given last: nothing of that is left when it is free."""

    process: BaseProcess
    connection: Connection
    batch: Batch = field(default_factory=Batch)


class Processes:
    """So many processes at most, each with one batch of runs."""

    def __init__(self, settings: WorkerSettings, *, jobs: int) -> None:
        self._settings, self._jobs = settings, jobs
        self._workers: list[Worker] = []

    @property
    def free(self) -> bool:
        """Whether one has nothing to do, or another may be started."""
        return len(self._workers) < self._jobs or any(not each.batch for each in self._workers)

    def give(self, batch: Batch, task: Task) -> Died | None:
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
