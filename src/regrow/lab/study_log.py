"""StudyLog: the metrics of trials, epoch by epoch, for a log.

It listens to what happens in a study, as the progress display does (`lab/events`); the store alone is what counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from regrow.lab.events import Ended, Event, Progressed
from regrow.logs import Log, SafeLog
from regrow.logs.base import Written
from regrow.study.records import EpochRecord

_METRICS = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


class StudyLog:
    """Writes each epoch of each trial once, as ``regrow/<trial>/<metric>`` by epoch, and at its end what was renewed.

    An epoch that was not told while the trial ran (of several trials that were one so far, or of several epochs between
    two messages) is written when the trial ends. A log that fails is left out with one warning. `then` is told
    everything afterwards, such as the display.
    """

    def __init__(
        self, log: Log | Written, *, then: Callable[[Event], object] = lambda event: None
    ) -> None:
        self._log, self._then = SafeLog(log), then
        self._told: defaultdict[str, set[int]] = defaultdict(set)

    def __call__(self, event: Event) -> None:
        """Take an event, and hand it on."""
        match event:
            case Progressed():
                for spec in event.specs:
                    self.take(spec.trial, event.record)
            case Ended():
                trial, result = event.spec.trial, event.result
                for record in result.epochs:
                    self.take(trial, record)
                self._told.pop(trial, None)
                self._log.write(
                    len(result.epochs), {f"regrow/{trial}/renewed": len(result.renewals)}
                )
            case _:
                pass
        self._then(event)

    def take(self, trial: str, record: EpochRecord) -> None:
        """Write one epoch of a trial, unless it was written before."""
        if record.epoch in self._told[trial]:
            return
        self._told[trial].add(record.epoch)
        found = ((name, getattr(record, name)) for name in _METRICS)
        values = {
            f"regrow/{trial}/{name}": float(value) for name, value in found if value is not None
        }
        self._log.write(record.epoch, values)
