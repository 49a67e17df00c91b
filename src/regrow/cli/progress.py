"""How far a study is: trials and seeds done, accuracy so far, time left; live on a terminal, lines elsewhere.

Shown by `cli/run` while `lab/executor` works a study off: it is handed the executor's events, one by one.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from regrow._plural import count
from regrow.cli.exits import say
from regrow.lab.events import Ended, Event, Noticed, Progressed
from regrow.report.unit import ACCURACY, ERROR, Unit

if TYPE_CHECKING:
    from rich.console import Group

    from regrow.study.trials import TrialSpec

LINE_EVERY_S: Final = 1.0
"""Least time between two lines about trials that ended, where there is no terminal."""

SILENT_S: Final = 25.0
"""Longest time without a line, where there is no terminal: two a minute, with room for a machine that is busy."""


@dataclass
class ArmProgress:
    """How far an arm is: its trials, those that ended, and the accuracies (or errors) of those that have one."""

    unit: Unit = ACCURACY
    trials: int = 0
    ended: int = 0
    measured: int = 0
    sum: float = 0.0

    @property
    def mean(self) -> float | None:
        """Mean so far; None without any."""
        return self.sum / self.measured if self.measured else None

    def end(self, accuracy: float | None) -> None:
        """Count a trial that ended; None for a crash."""
        self.ended += 1
        if accuracy is not None:
            self.measured += 1
            self.sum += accuracy


class Progress:
    """The numbers behind any display: sums alone, for a study may have a hundred thousand trials."""

    def __init__(
        self,
        specs: Iterable[TrialSpec],  # all trials of the study
        # Accuracy by trial of those that ended before; None for a crash.
        accuracies: Mapping[str, float | None],
        *,
        clock: Callable[[], float] = time.monotonic,  # seconds since any moment
    ) -> None:
        self.clock = clock
        self.started = clock()
        self.lock = threading.RLock()
        """Held by whoever counts or shows: a display draws in a thread of its own."""
        self.arms: dict[str, ArmProgress] = {}
        self.trained = 0
        # Trials that have not ended, by seed.
        self._open: Counter[int] = Counter()
        # Epochs of single networks: an epoch of a trial of several takes as much longer. Of trials that have begun and
        # not ended, by trial; of all that have not ended.
        self._begun: dict[str, int] = {}
        self._left = 0
        for spec in specs:
            arm = self.arms.setdefault(spec.label, ArmProgress(unit=_unit(spec)))
            arm.trials += 1
            ended = spec.trial in accuracies
            if ended:
                arm.end(accuracies[spec.trial])
            self._open[spec.seed] += not ended
            self._left += 0 if ended else spec.partners * spec.train.epochs
        # Of the epochs asked for: one that trials have in common counts for each of them.
        self._gone = 0
        self._samples = 0
        self._first: tuple[float, int, int] | None = None

    def take(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, Progressed):
            for spec in event.specs:
                self._leave(spec, spec.partners * (spec.train.epochs - event.record.epoch))
            self.trained += event.network_epochs
            self._gone += event.network_epochs * len(event.specs)
            self._samples += event.samples
            if self._first is None:
                self._first = (self.clock(), self._gone, self._samples)
        elif isinstance(event, Ended):
            self._leave(event.spec, 0)
            del self._begun[event.spec.trial]
            self._open[event.spec.seed] -= 1
            self.arms[event.spec.label].end(event.result.number)

    def _leave(self, spec: TrialSpec, epochs: int) -> None:
        """So many epochs of a trial are left."""
        before = self._begun.get(spec.trial, spec.partners * spec.train.epochs)
        self._left += epochs - before
        self._begun[spec.trial] = epochs

    @property
    def total(self) -> int:
        """Trials of the study."""
        return sum(arm.trials for arm in self.arms.values())

    @property
    def done(self) -> int:
        """Trials that ended, in this run or before."""
        return sum(arm.ended for arm in self.arms.values())

    @property
    def seeds(self) -> int:
        """Seeds of the study."""
        return len(self._open)

    @property
    def seeds_done(self) -> int:
        """Seeds of which all trials ended."""
        return sum(not trials for trials in self._open.values())

    @property
    def elapsed_s(self) -> float:
        """Time since the run began."""
        return self.clock() - self.started

    @property
    def saved(self) -> int:
        """Epochs of single networks that were asked for and not trained, since another trial had the same ones."""
        return self._gone - self.trained

    @property
    def samples_per_s(self) -> float | None:
        """Images trained on in a second, over all networks, since the first epoch ended. None before the second."""
        if self._first is None or self._samples <= self._first[2]:
            return None
        return (self._samples - self._first[2]) / (self.clock() - self._first[0])

    @property
    def left_s(self) -> float | None:
        """Time left at the pace since the first epoch ended: workers take seconds to start. None before the second."""
        if self._first is None or self._gone <= self._first[1]:
            return None
        pace_s = (self.clock() - self._first[0]) / (self._gone - self._first[1])
        return self._left * pace_s


class Lines:
    """Plain lines on standard error: for trials that end at most one a second, and in any case two a minute."""

    def __init__(self, progress: Progress, *, wait: Callable[[float], bool] | None = None) -> None:
        self._progress = progress  # the numbers
        self._over = threading.Event()
        # Waits so many seconds, or less once the study is over; whether it is.
        self._wait = wait or self._over.wait
        self._last = -math.inf
        self._watch = threading.Thread(target=self._break_silence, daemon=True)

    def __call__(self, event: Event) -> None:
        """Take an event, and perhaps say something."""
        with self._progress.lock:
            self._progress.take(event)
            if isinstance(event, Noticed):
                say(f"warning: {event.text}")
            elif isinstance(event, Ended):
                crashed = event.result.status == "crashed"
                over = self._progress.done == self._progress.total
                if crashed or over or self._progress.clock() - self._last >= LINE_EVERY_S:
                    self._say(_ended(event))

    def __enter__(self) -> Self:
        """Begin to watch for silence."""
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing running."""
        self._over.set()
        self._watch.join()

    def _break_silence(self) -> None:
        while not self._wait(self._silent_for_s()):
            with self._progress.lock:
                if self._silent_for_s() <= 0:
                    self._say("training")

    def _silent_for_s(self) -> float:
        """How much longer nothing need be said."""
        last = max(self._last, self._progress.started)
        return last + SILENT_S - self._progress.clock()

    def _say(self, what: str) -> None:
        self._last = self._progress.clock()
        say(_line(self._progress, what))


class Live:
    """A bar and a table on the terminal, redrawn in place and gone at the end."""

    def __init__(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._progress = progress  # the numbers
        self._console = Console(file=sys.stderr)
        self._live = RichLive(
            get_renderable=lambda: drawing(progress), console=self._console, refresh_per_second=4,
            transient=True, redirect_stdout=False,
        )  # fmt: skip

    def __call__(self, event: Event) -> None:
        """Take an event."""
        with self._progress.lock:
            self._progress.take(event)
            text = ""
            if isinstance(event, Noticed):
                text = f"warning: {event.text}"
            elif isinstance(event, Ended) and event.result.status == "crashed":
                text = _line(self._progress, _ended(event))
        # Not under the lock: the console has one of its own, and takes ours while it holds that.
        if text:
            self._console.print(text, markup=False, highlight=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self._live.stop()


def duration(seconds: float | None) -> str:
    """Write a duration for people, such as ``1 h 02 min``, ``3 min 20 s``, ``12 s``."""
    if seconds is None:
        return "..."
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _unit(spec: TrialSpec) -> Unit:
    """What a trial is judged by."""
    return ERROR if spec.loss == "squared" else ACCURACY


def _told(unit: Unit, number: float | None) -> str:
    """What a trial reached, or several in the mean."""
    return "-" if number is None else f"{unit.value(number)}{unit.sign}"


def _ended(event: Ended) -> str:
    """One trial that ended, in words."""
    result = event.result
    if result.status == "crashed":
        return f"{result.trial}: crashed: {result.error}"
    told = _told(_unit(event.spec), result.number)
    if event.spec.partners > 1:
        told += f", mean of {event.spec.partners} networks"
    if result.status == "diverged":
        told += ", diverged"
    if result.renewals:
        told += f", {count(len(result.renewals), 'renewal')}"
    return f"{result.trial}: {told}"


def _line(progress: Progress, what: str) -> str:
    """What happens, and where the study stands."""
    means = ", ".join(
        f"{label} {_told(arm.unit, arm.mean)}"
        for label, arm in progress.arms.items()
        if arm.mean is not None
    )
    mean_so_far = f" | mean {means}" if means else ""
    return (
        f"[{progress.done}/{progress.total}] {what}{mean_so_far} | {_work(progress)} | "
        f"{duration(progress.elapsed_s)} gone, {duration(progress.left_s)} left"
    )


def _work(progress: Progress) -> str:
    """What was trained, what was not trained twice, and how fast."""
    told = count(progress.trained, "network-epoch")
    if progress.saved:
        told += f" trained, {progress.saved} shared"
    rate = progress.samples_per_s
    return told if rate is None else f"{told}, {rate:,.0f} images/s"


def drawing(progress: Progress) -> Group:
    """The present state for a terminal."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    with progress.lock:
        total = progress.total
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"[bold]{progress.done}[/] of {total} trials, "
            f"{progress.seeds_done} of {count(progress.seeds, 'seed')}",
            ProgressBar(total=total, completed=progress.done, width=30),
            f"{duration(progress.elapsed_s)} gone",
            f"{duration(progress.left_s)} left",
        )
        table = Table("arm", box=None, pad_edge=False, header_style="dim")
        table.add_column("trials done", justify="right")
        errors = any(arm.unit.lower for arm in progress.arms.values())
        table.add_column("mean squared error" if errors else "mean test accuracy", justify="right")
        for label, arm in progress.arms.items():
            told = _told(arm.unit, arm.mean)
            table.add_row(Text(label), f"{arm.ended} of {arm.trials}", told)
        return Group(head, Text(_work(progress), style="dim"), table)
