"""What a worker does, wherever it runs: it trains what it is given, one batch after the other, and tells what happens.

This module imports nothing heavy, so that the thread count is set before torch is loaded.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regrow.errors import RegrowError, StoreError
from regrow.study.records import EpochRecord, TrialResult
from regrow.study.trials import TrialSpec

if TYPE_CHECKING:
    from regrow.lab.data import Dataset
    from regrow.lab.trial import Request
    from regrow.study.document import DataChoice, EngineName

TICK_S: Final = 0.2
"""How long is waited for workers at most before it is looked whether the study was asked to stop."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker needs to know once."""

    data_dir: Path | None = None  # folder with data sets, or None
    # Least time between two checkpoints of a trial; 0 = after each epoch.
    checkpoint_every_s: float = 1.0
    engine: EngineName = "modules"  # what makes the steps
    device: str = "cpu"  # where networks are trained
    tell_every_s: float = 0.05  # least time between two messages of a run that trains


@dataclass(frozen=True)
class EpochsDone:
    """A run has trained on."""

    trials: tuple[str, ...]  # those that it still is
    record: EpochRecord  # its newest epoch
    epochs: int  # how many it has trained since it last said so
    samples: int  # training images of these, over all networks


@dataclass(frozen=True)
class Forked:
    """Trials have left a run; their state lies where the first of them has its checkpoint."""

    trials: tuple[str, ...]


@dataclass(frozen=True)
class RunDone:
    """All trials that a run still was have ended."""

    results: tuple[TrialResult, ...]  # one a trial
    epochs: int  # what it has trained since `EpochsDone`
    samples: int  # likewise


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


@dataclass(frozen=True)
class Died:
    """Who trained a batch is gone."""

    how: str  # what is known of it
    lost: bool = False  # its machine is gone too: no fault of what it trained


class Bench:
    """Where a worker trains: what it must know, whom it tells, and the data sets that it has met, loaded once."""

    def __init__(
        self,
        settings: WorkerSettings,
        send: Callable[[Message], object],
        *,
        # Data sets that are there already, by `data_key`.
        data: Mapping[str, Dataset] | None = None,
    ) -> None:
        self._settings, self._send = settings, send
        self._held = dict(data or {})

    def train(self, task: Sequence[Request]) -> bool:
        """Train all runs of a task; whether that went well, and what is wrong is said."""
        try:
            self._train(task)
            return True
        except StoreError as error:
            self._send(Unwritable(str(error)))
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # whatever a trial raises is its result; the others go on
            self._send(TaskFailed(_one_line(error)))
        return False

    def warn(self, text: Any, *_: object) -> None:
        """Tell what is warned of, in the place of `warnings.showwarning`."""
        self._send(Warned(str(text)))

    def _train(self, task: Sequence[Request]) -> None:
        from regrow.lab.assembly import images_per_epoch  # noqa: PLC0415 # loads torch
        from regrow.lab.trial import train_together  # noqa: PLC0415 # loads torch

        first, send, settings = task[0].specs[0], self._send, self._settings
        data = self._data(first)
        available = len(data.x_train) - first.train.held_out
        samples = first.partners * images_per_epoch(first, available)
        every_s = min(settings.tell_every_s, settings.checkpoint_every_s)
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
        key = data_key(spec.data)
        if key not in self._held:
            found = load_data(spec.data, self._settings)
            self._held[key] = found.to(self._settings.device)
        return self._held[key]


def data_key(asked: DataChoice) -> str:
    """A text that is equal where data sets are."""
    return json.dumps([asked.name, asked.settings], sort_keys=True)


def load_data(asked: DataChoice, settings: WorkerSettings) -> Dataset:
    """Read a data set where a study has it."""
    from regrow.lab import data  # noqa: PLC0415 # loads numpy

    return data.load(asked.name, settings=asked.settings, data_dir=settings.data_dir)


class _Telling:
    """Tells how far a run is, a few times a second."""

    def __init__(self, send: Callable[[Message], object], *, samples: int, every_s: float) -> None:
        self._send, self._samples, self._every_s = send, samples, every_s
        self._epochs = 0
        self._last = 0.0

    def __call__(self, specs: Sequence[TrialSpec], record: EpochRecord) -> None:
        self._epochs += 1
        now = time.monotonic()
        if now - self._last < self._every_s:
            return
        trials = tuple(spec.trial for spec in specs)
        self._send(EpochsDone(trials, record, *self.rest()))
        self._last = now

    def rest(self) -> tuple[int, int]:
        """Epochs and samples that were not told yet; they count as told then."""
        epochs, self._epochs = self._epochs, 0
        return epochs, epochs * self._samples


def _one_line(error: Exception) -> str:
    """The error with the place where it was raised; regrow's own messages name their place."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, RegrowError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text
