"""What is left of a study: which trials are one run, which runs wait, which are at work. It knows of no process.

Whatever works runs off (`lab/pool.py`, `lab/on_ray.py`) is given what `Runs.begin` takes out, and what becomes of it is
told here: `part`, `moved`, `end`, `failed`, `died`. The driver of both is `lab/executor.py`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from regrow.lab.checkpoint import Held
from regrow.lab.sharing.families import Keys, Texts, by_first, families
from regrow.study.grouped import grouped
from regrow.study.records import TrialResult
from regrow.study.trials import TrialSpec

_LOOK: Final = 100
"""How many runs are passed over in search of those that fit into a stack."""

MANY: Final = 1_000_000
"""As many as anybody asks for."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Trials that are one run as far as anybody knows: what a worker is given."""

    specs: tuple[TrialSpec, ...]  # the trials. The first gives the run's checkpoint its name.
    # How many runs may be trained side by side where this is one of them; fewer after each failure.
    beside: int = MANY

    @property
    def name(self) -> str:
        """The name of the first trial."""
        return self.specs[0].trial

    @property
    def after(self) -> tuple[str, ...]:
        """The trials that must have ended before this can begin: only trials that are alone have any."""
        return self.specs[0].after


def segments(
    specs: Iterable[TrialSpec], held: Mapping[str, Held], *, sharing: bool = True
) -> Iterator[Segment]:
    """Put together what belongs together, and find the file from which each trial can go on: seed by seed, as asked.

    Each file of a stopped study has the state of all trials that it names, at its time. A trial goes on from the file
    that bears its name, or else from the one that is furthest. Trials that go on from one file are one run; so are
    those of a family that no file has. No two seeds are one run.
    """
    if not sharing:
        yield from (Segment(specs=(spec,)) for spec in specs)
        return
    keys = Keys()
    for _, own in groupby(specs, attrgetter("seed")):
        yield from _of_seed(tuple(own), held, keys)


def _of_seed(specs: Sequence[TrialSpec], held: Mapping[str, Held], keys: Keys) -> list[Segment]:
    """The runs of one seed, in the order of their first trials."""
    found: list[tuple[TrialSpec, ...]] = []
    for members in families(specs, keys):
        files = {spec.trial: held[spec.trial] for spec in members if spec.trial in held}
        # Trials that a killed study had in two files have come to differ there, or may have: they are not joined again.
        for file, several in grouped(members, partial(_furthest, files=files)).items():
            # The file is the first one's: its name is that of the run.
            found.append(tuple(sorted(several, key=lambda spec: spec.trial != file)))
    return [Segment(specs=several) for several in by_first(found, specs)]


def _furthest(spec: TrialSpec, files: Mapping[str, Held]) -> str | None:
    if spec.trial in files:
        # Its own file, even if another is further: it is what the trial's own run wrote last.
        return spec.trial
    having = [name for name, file in files.items() if spec.trial in file.members]
    return max(having, key=lambda name: files[name].epoch, default=None)


Batch = list[Segment]
"""Runs that are trained side by side. A run leaves it when it ends."""


class Runs:
    """The runs of a study."""

    def __init__(
        self,
        # Those that are to be trained. They are asked for as they are needed: a hundred thousand that wait take no
        # more memory than a hundred.
        waiting: Iterable[Segment],
        *,
        ended: Mapping[str, str],  # status of the trials that ended before
        stack_size: int,  # how many runs are trained side by side at most
        attempts: int = 2,  # how often a run is begun that gets no further when its worker dies
    ) -> None:
        self.status = dict(ended)  # of every trial that ended, by its name
        self.notices: list[str] = []  # what a user should know; whoever tells it takes it out
        # Results of trials that crashed; whoever keeps them takes them out.
        self.crashes: list[tuple[Segment, tuple[TrialResult, ...]]] = []
        self._waiting: deque[Segment] = deque()
        self._later = iter(waiting)
        self._stack_size, self._most = stack_size, attempts
        self._texts = Texts(without={"lr"})
        self._batches: list[Batch] = []
        self._attempts: Counter[str] = Counter()
        self._furthest: dict[str, int] = {}

    @property
    def busy(self) -> bool:
        """Whether any run is at work."""
        return any(self._batches)

    @property
    def unfinished(self) -> bool:
        """Whether any trial has not ended."""
        self._ask_for(1)
        return self.busy or bool(self._waiting)

    def kind(self, run: Segment) -> str:
        """What the runs of one stack have in common, data, model and training but for the rate; empty: it is alone."""
        spec = run.specs[0]
        # These train by means that a stack has not: several networks of one trial, another network's answers.
        if spec.partners > 1 or spec.teachers or spec.keeps_weights:
            return ""
        return self._texts.of(spec.data, spec.model, spec.train, spec.stream)

    def begin(self, *, workers: int) -> Batch | None:
        """Take the next runs to be trained side by side, so that none of so many workers is left without."""
        # As many as could begin now, and those that may be passed over in search of them.
        self._ask_for(self._stack_size * workers + _LOOK)
        first = self._next()
        if first is None:
            return None
        share = -(-(len(self._waiting) + 1) // workers)
        batch = [first, *self._beside(first, most=share)]
        self._attempts.update(run.name for run in batch)
        self._batches = [*filter(None, self._batches), batch]
        return batch

    def part(self, batch: Batch, trials: Sequence[str]) -> None:
        """Trials have left a run: they are a run of their own, and the next to begin, while their file is fresh."""
        run = run_of(batch, trials[0])
        by_name = {spec.trial: spec for spec in run.specs}
        # In the order of the message: its first trial has named the file.
        leave = tuple(by_name.pop(trial) for trial in trials)
        batch[batch.index(run)] = replace(run, specs=tuple(by_name.values()))
        self._put_first(replace(run, specs=leave))

    def moved(self, batch: Batch, trial: str, *, epoch: int) -> Segment:
        """A run has trained on; one that gets further than it ever was may be begun as often again."""
        run = run_of(batch, trial)
        if self._furthest.get(run.name, 0) < epoch:
            self._furthest[run.name] = epoch
            self._attempts[run.name] = 1
        return run

    def end(self, batch: Batch, results: Sequence[TrialResult]) -> Segment:
        """All trials that a run still was have ended; it is at work no more."""
        run = run_of(batch, results[0].trial)
        batch.remove(run)
        self._furthest.pop(run.name, None)
        self._attempts.pop(run.name, None)
        self.status.update({result.trial: result.status for result in results})
        return run

    def failed(self, batch: Batch, error: str) -> None:
        """Training has raised an error: that of a run alone, or of one of several."""
        runs = self._stopped(batch)
        if len(runs) == 1:
            self._crash(runs[0], error)
        else:
            self._halve(runs, error)

    def died(self, batch: Batch, how: str, *, lost: bool = False) -> None:
        """Who worked has died: a run goes on in another, so often; of several, half as many go on side by side.

        A machine that is lost is no fault of the runs: all go on as they were, and no attempt is counted.
        """
        runs = self._stopped(batch)
        if lost and runs:
            more = f", and {len(runs) - 1} runs beside it" if len(runs) > 1 else ""
            self.notices.append(f"{_told(runs[0])}{more}: {how}; training goes on elsewhere")
            self._attempts.subtract(run.name for run in runs)
            self._put_first(*runs)
            return
        if len(runs) > 1:
            self._halve(runs, f"their process died ({how})")
            return
        for run in runs:
            if self._attempts[run.name] < self._most:
                self.notices.append(
                    f"{_told(run)}: its process died ({how}); it goes on in a new one"
                )
                self._put_first(run)
            elif len(run.specs) > 1:
                self.notices.append(
                    f"{_told(run)}: their process died again ({how}); each goes on by itself"
                )
                self._put_first(*(replace(run, specs=(spec,)) for spec in run.specs))
                self._attempts[run.name] = 0
            else:
                self._crash(run, f"its process died {self._most} times ({how}); out of memory?")

    def _stopped(self, batch: Batch) -> list[Segment]:
        """The runs of a batch that is at work no more."""
        runs, batch[:] = list(batch), []
        return runs

    def _ask_for(self, least: int) -> None:
        """See to it that so many runs wait, if so many are left."""
        self._waiting.extend(islice(self._later, max(least - len(self._waiting), 0)))

    def _put_first(self, *runs: Segment) -> None:
        """Let runs be the next to begin."""
        self._waiting.extendleft(reversed(runs))

    def _next(self) -> Segment | None:
        """Take the first run that can begin; those that wait for others keep their places, the hopeless ones crash."""
        waits: list[Segment] = []
        found: Segment | None = None
        while self._waiting and found is None:
            run = self._waiting.popleft()
            reason = self._hopeless(run.specs[0])
            if reason:
                self._crash(run, reason)
            elif all(trial in self.status for trial in run.after):
                found = run
            else:
                waits.append(run)
                self._ask_for(1)
        self._put_first(*waits)
        return found

    def _beside(self, first: Segment, *, most: int) -> list[Segment]:
        """Take runs from the front part of the queue that can be trained in one stack with a run, `most` in all."""
        found: list[Segment] = []
        passed: list[Segment] = []
        kind, room = self.kind(first), min(self._stack_size, first.beside, most)
        while kind and self._waiting and len(found) + 1 < room and len(passed) < _LOOK:
            run = self._waiting.popleft()
            fits = self.kind(run) == kind and not run.after and len(found) + 1 < run.beside
            (found if fits else passed).append(run)
            room = min(room, run.beside) if fits else room
        self._put_first(*passed)
        return found

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
        self._put_first(*(replace(run, beside=size) for run in runs))

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
