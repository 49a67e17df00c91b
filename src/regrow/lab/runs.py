"""What is left of a study: runs that wait, runs at work, trials that ended. It knows of no process and no file.

Whatever works runs off (processes of this machine, or others later) asks for a batch with `begin`, and tells what
became of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from regrow.lab.sharing import RunQueue, Segment
from regrow.lab.sharing.queue import Turn
from regrow.study.records import TrialResult
from regrow.study.trials import TrialSpec

_ATTEMPTS: Final = 2
"""How often a run is begun whose worker dies."""

Batch = list[Segment]
"""Runs that are trained side by side. A run leaves it when it ends."""


class Runs:
    """The runs of a study.

    Args:
        waiting: Those that are to be trained.
        ended: Status of the trials that ended before.
        stack_size: How many runs are trained side by side at most.

    Attributes:
        status: Of every trial that ended, by its name.
        notices: What a user should know; whoever tells it takes it out.
        crashes: Results of trials that crashed; whoever keeps them takes them out.
    """

    def __init__(
        self, waiting: Iterable[Segment], *, ended: Mapping[str, str], stack_size: int
    ) -> None:
        self.status = dict(ended)
        self.notices: list[str] = []
        self.crashes: list[tuple[Segment, tuple[TrialResult, ...]]] = []
        self._waiting = RunQueue(waiting, stack_size=stack_size)
        self._batches: list[Batch] = []
        self._attempts: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """Whether any run is at work."""
        return any(self._batches)

    @property
    def unfinished(self) -> bool:
        """Whether any trial has not ended."""
        return self.busy or bool(self._waiting)

    def begin(self, *, workers: int) -> Batch | None:
        """Take the next runs to be trained side by side, so that none of so many workers is left without."""
        first = self._waiting.next(self._turn)
        if first is None:
            return None
        share = -(-(len(self._waiting) + 1) // workers)
        batch = [first, *self._waiting.beside(first, most=share)]
        self._attempts.update(run.name for run in batch)
        self._batches.append(batch)
        return batch

    def part(self, batch: Batch, trials: Sequence[str]) -> None:
        """Trials have left a run: they are a run of their own, and the next to begin, while their file is fresh."""
        run = run_of(batch, trials[0])
        by_name = {spec.trial: spec for spec in run.specs}
        # In the order of the message: its first trial has named the file.
        leave = tuple(by_name.pop(trial) for trial in trials)
        batch[batch.index(run)] = replace(run, specs=tuple(by_name.values()))
        self._waiting.put_first(replace(run, specs=leave))

    def end(self, batch: Batch, results: Sequence[TrialResult]) -> Segment:
        """All trials that a run still was have ended; it is at work no more."""
        run = run_of(batch, results[0].trial)
        batch.remove(run)
        self.status.update({result.trial: result.status for result in results})
        return run

    def failed(self, batch: Batch, error: str) -> None:
        """Training has raised an error: that of a run alone, or of one of several."""
        runs = self._stopped(batch)
        if len(runs) == 1:
            self._crash(runs[0], error)
        else:
            self._halve(runs, error)

    def died(self, batch: Batch, how: str) -> None:
        """Who worked has died: a run goes on in another, once; of several, half as many go on side by side."""
        runs = self._stopped(batch)
        if len(runs) > 1:
            self._halve(runs, f"their process died ({how})")
            return
        for run in runs:
            if self._attempts[run.name] < _ATTEMPTS:
                self.notices.append(
                    f"{_told(run)}: its process died ({how}); it goes on in a new one"
                )
                self._waiting.put_first(run)
            elif len(run.specs) > 1:
                self.notices.append(
                    f"{_told(run)}: their process died again ({how}); each goes on by itself"
                )
                self._waiting.put_first(*(replace(run, specs=(spec,)) for spec in run.specs))
                self._attempts[run.name] = 0
            else:
                self._crash(run, f"its process died {_ATTEMPTS} times ({how}); out of memory?")

    def _stopped(self, batch: Batch) -> list[Segment]:
        """The runs of a batch that is at work no more."""
        runs, batch[:] = list(batch), []
        return runs

    def _turn(self, run: Segment) -> Turn:
        """Whether a run can begin; one that never can has crashed."""
        reason = self._hopeless(run.specs[0])
        if reason:
            self._crash(run, reason)
            return "drop"
        return "begin" if all(trial in self.status for trial in run.after) else "wait"

    def _hopeless(self, spec: TrialSpec) -> str:
        """Why a trial can never begin; empty if it can."""
        if spec.like is not None and self.status.get(spec.like) == "crashed":
            return f"the trial that it replays, {spec.like}, has crashed"
        for teacher in spec.teachers:
            status = None if teacher.trial is None else self.status.get(teacher.trial)
            if status in {"crashed", "diverged"}:
                return f"its teacher, {teacher.trial}, has {status}"
        return ""

    def _halve(self, runs: Sequence[Segment], error: str) -> None:
        """Nobody knows which of several runs failed, or whether they are too many: half as many go on together."""
        size = max(len(runs) // 2, 1)
        self.notices.append(
            f"{len(runs)} runs side by side stopped: {error}; from now on at most {size} of them are trained together"
        )
        self._attempts.subtract(run.name for run in runs)
        self._waiting.put_first(*(replace(run, beside=size) for run in runs))

    def _crash(self, run: Segment, error: str) -> None:
        results = tuple(
            TrialResult(
                trial=spec.trial,
                cell=spec.cell,
                arm=spec.label,
                seed=spec.seed,
                status="crashed",
                error=error,
            )
            for spec in run.specs
        )
        self.status.update({result.trial: result.status for result in results})
        self.crashes.append((run, results))


def run_of(batch: Batch, trial: str) -> Segment:
    """The run of a batch that a trial is in."""
    for run in batch:
        if any(spec.trial == trial for spec in run.specs):
            return run
    raise RuntimeError(f"a worker speaks of {trial}, which it was not given")


def _told(run: Segment) -> str:
    more = len(run.specs) - 1
    return run.name + (f" and {more} more that are one run with it" if more else "")
