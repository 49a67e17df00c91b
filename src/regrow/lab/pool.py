"""The local pool: processes of this machine with one thread each, every one with one batch of runs.

Made by `lab/executor.py` where nothing else is asked for; `lab/on_ray.py` is the other way to work a queue off. What a
worker is given begins here too (`work`): nothing heavy is imported, so that the thread count is set before torch is.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final

from regrow.lab.worker import TICK_S, Bench, Died, Message, WorkerSettings

if TYPE_CHECKING:
    from regrow.lab.queue import Batch
    from regrow.lab.trial import Request

_PR_SET_PDEATHSIG = 1

START: Final = "spawn"
"""How a worker begins, as multiprocessing names it: as a program of its own, with nothing of this one."""


@dataclass
class Worker:
    """A process, and what it was given last: nothing of that is left when it is free."""

    process: BaseProcess
    connection: Connection
    batch: Batch = field(default_factory=list[Any])


class Processes:
    """So many processes at most, each with one batch of runs."""

    attempts = 2  # how often a run is begun whose process dies

    def __init__(self, settings: WorkerSettings, *, jobs: int) -> None:
        self.jobs = jobs  # how many
        self._settings = settings
        self._workers: list[Worker] = []

    @property
    def free(self) -> bool:
        """Whether one has nothing to do, or another may be started."""
        return len(self._workers) < self.jobs or any(not each.batch for each in self._workers)

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
        for ready in wait(list(by_connection), timeout=TICK_S):
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

    def send(message: Message) -> None:
        _end_without_parent()
        connection.send(message)

    bench = Bench(settings, send)
    warnings.showwarning = bench.warn
    try:
        while (task := connection.recv()) is not None:
            bench.train(task)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone; what it had kept is kept


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent dies, where the kernel can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _end_without_parent()  # it may have died before the line above


def _end_without_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)
