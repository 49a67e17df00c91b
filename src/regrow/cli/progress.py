"""How far a study is: trials and seeds done, accuracy so far, time left; live on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from regrow.cli.exits import say
from regrow.lab.events import Ended, Event, Noticed, Progressed
from regrow.report.wording import count

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from regrow.study.trials import TrialSpec

LINE_EVERY_S = 1.0
"""Least time between two lines where there is no terminal."""


class Progress:
    """The numbers behind any display.

    Args:
        specs: All trials of the study.
        accuracies: Accuracy by trial of those that ended before; None for a crash.
    """

    def __init__(self, specs: Iterable[TrialSpec], accuracies: Mapping[str, float | None]) -> None:
        self.specs = tuple(specs)
        self.accuracies: dict[str, float | None] = dict(accuracies)
        self.seeds = frozenset(spec.seed for spec in self.specs)
        self.by_arm: dict[str, list[TrialSpec]] = {}
        for spec in self.specs:
            self.by_arm.setdefault(spec.label, []).append(spec)
        self._left = {
            spec.trial: spec.partners * spec.train.epochs
            for spec in self.specs
            if spec.trial not in accuracies
        }  # epochs of single networks: an epoch of a trial of several takes as much longer
        self.trained = 0
        # Of the epochs asked for: one that trials have in common counts for each of them.
        self._gone = 0
        self._samples = 0
        self._first: tuple[float, int, int] | None = None
        self._started = time.monotonic()

    def take(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, Progressed):
            for spec in event.specs:
                self._left[spec.trial] = spec.partners * (spec.train.epochs - event.record.epoch)
            self.trained += event.network_epochs
            self._gone += event.network_epochs * len(event.specs)
            self._samples += event.samples
            if self._first is None:
                self._first = (time.monotonic(), self._gone, self._samples)
        elif isinstance(event, Ended):
            self._left.pop(event.spec.trial, None)
            last = event.result.last
            self.accuracies[event.spec.trial] = None if last is None else last.test_accuracy

    @property
    def done(self) -> int:
        """Trials that ended, in this run or before."""
        return len(self.accuracies)

    @property
    def seeds_done(self) -> int:
        """Seeds of which all trials ended."""
        open_seeds = {spec.seed for spec in self.specs if spec.trial not in self.accuracies}
        return len(self.seeds - open_seeds)

    @property
    def elapsed_s(self) -> float:
        """Time since the run began."""
        return time.monotonic() - self._started

    @property
    def saved(self) -> int:
        """Epochs of single networks that were asked for and not trained, since another trial had the same ones."""
        return self._gone - self.trained

    @property
    def samples_per_s(self) -> float | None:
        """Images trained on in a second, over all networks, since the first epoch ended. None before the second."""
        if self._first is None or self._samples <= self._first[2]:
            return None
        return (self._samples - self._first[2]) / (time.monotonic() - self._first[0])

    @property
    def left_s(self) -> float | None:
        """Time left at the pace since the first epoch ended: workers take seconds to start. None before the second."""
        if self._first is None or self._gone <= self._first[1]:
            return None
        pace_s = (time.monotonic() - self._first[0]) / (self._gone - self._first[1])
        return sum(self._left.values()) * pace_s

    def mean(self, label: str) -> float | None:
        """Mean accuracy of an arm's trials so far; None without any."""
        found = [
            accuracy
            for spec in self.by_arm[label]
            if (accuracy := self.accuracies.get(spec.trial)) is not None
        ]
        return sum(found) / len(found) if found else None

    def ended(self, label: str) -> int:
        """Trials of an arm that ended."""
        return sum(spec.trial in self.accuracies for spec in self.by_arm[label])


class Lines(AbstractContextManager["Lines"]):
    """Plain lines on standard error, at most one a second and one at the end.

    Args:
        progress: The numbers.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Take an event, and perhaps say something."""
        self._progress.take(event)
        if isinstance(event, Noticed):
            say(f"warning: {event.text}")
        elif isinstance(event, Ended):
            crashed = event.result.status == "crashed"
            over = self._progress.done == len(self._progress.specs)
            if crashed or over or time.monotonic() - self._last >= LINE_EVERY_S:
                self._last = time.monotonic()
                say(_line(self._progress, event))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put away."""


class Live(AbstractContextManager["Live"]):
    """A bar and a table on the terminal, redrawn in place and gone at the end.

    Args:
        progress: The numbers.
    """

    def __init__(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._progress = progress
        self._console = Console(file=sys.stderr)
        self._live = RichLive(
            self, console=self._console, refresh_per_second=4, transient=True, redirect_stdout=False
        )

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._progress.take(event)
        if isinstance(event, Noticed):
            self._console.print(f"warning: {event.text}", markup=False, highlight=False)
        elif isinstance(event, Ended) and event.result.status == "crashed":
            self._console.print(_line(self._progress, event), markup=False, highlight=False)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the present state."""
        del console, options
        yield from _drawing(self._progress)


def display(progress: Progress, *, live: bool) -> Lines | Live:
    """The display that fits where the output goes.

    Args:
        progress: The numbers.
        live: Whether standard error is a terminal.

    Returns:
        A context manager that takes events.
    """
    return Live(progress) if live else Lines(progress)


def duration(seconds: float | None) -> str:
    """Write a duration for people.

    Args:
        seconds: The duration; None = not known yet.

    Returns:
        Such as ``1 h 02 min``, ``3 min 20 s``, ``12 s``.

    Examples:
        >>> duration(3725), duration(200), duration(12.4), duration(None)
        ('1 h 02 min', '3 min 20 s', '12 s', '...')
    """
    if seconds is None:
        return "..."
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def _line(progress: Progress, event: Ended) -> str:
    """One trial that ended, and where the study stands."""
    result, last = event.result, event.result.last
    if result.status == "crashed":
        told = f"crashed: {result.error}"
    else:
        accuracy = last.test_accuracy if last is not None else None
        told = "-" if accuracy is None else f"{100 * accuracy:.1f} %"
        if event.spec.partners > 1:
            told += f", mean of {event.spec.partners} networks"
        if result.status == "diverged":
            told += ", diverged"
        if result.renewals:
            told += f", {count(len(result.renewals), 'renewal')}"
    means = ", ".join(
        f"{label} {100 * mean:.1f} %"
        for label in progress.by_arm
        if (mean := progress.mean(label)) is not None
    )
    mean_so_far = f" | mean {means}" if means else ""
    return (
        f"[{progress.done}/{len(progress.specs)}] {result.trial}: {told}{mean_so_far} | {_work(progress)} | "
        f"{duration(progress.elapsed_s)} gone, {duration(progress.left_s)} left"
    )


def _work(progress: Progress) -> str:
    """What was trained, what was not trained twice, and how fast."""
    told = count(progress.trained, "network-epoch")
    if progress.saved:
        told += f" trained, {progress.saved} shared"
    rate = progress.samples_per_s
    return told if rate is None else f"{told}, {rate:,.0f} images/s"


def _drawing(progress: Progress) -> Iterator[Table | Text]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    total = len(progress.specs)
    head = Table.grid(padding=(0, 2))
    head.add_row(
        f"[bold]{progress.done}[/] of {total} trials, "
        f"{progress.seeds_done} of {count(len(progress.seeds), 'seed')}",
        ProgressBar(total=total, completed=progress.done, width=30),
        f"{duration(progress.elapsed_s)} gone",
        f"{duration(progress.left_s)} left",
    )
    yield head
    yield Text(_work(progress), style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("arm", "trials done", "mean test accuracy"):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for label, specs in progress.by_arm.items():
        mean = progress.mean(label)
        table.add_row(
            label,
            f"{progress.ended(label)} of {len(specs)}",
            "-" if mean is None else f"{100 * mean:.1f} %",
        )
    yield table
