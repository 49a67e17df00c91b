"""StepLog: what a regrower has done, as numbers for a log."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.utils.hooks import RemovableHandle

from regrow._checks import check_positive
from regrow.errors import ConfigError
from regrow.graph.slices import rows
from regrow.logs import Log, SafeLog
from regrow.logs.base import Written
from regrow.loop.health_log import HealthLog
from regrow.loop.stepper import Stepper

_KEPT: Final = ("starved", "blocked", "given_up")


class StepLog:
    """Writes a regrower's numbers: every so many steps, and at each step that renewed something."""

    def __init__(
        self,
        stepper: Stepper,  # whose they are
        log: Log | Written,  # where they go
        *,
        every: int,  # steps
        health: HealthLog | None,  # looks at the network now and then; None: nobody does
    ) -> None:
        check_positive(every, name="log_every", where="attach")
        self._stepper = stepper
        self._log = SafeLog(log)
        self._every = every
        model = stepper.renewer.host.model
        self._weights = [  # the layers that it watches, each with its weight
            (each.filters, model.get_parameter(each.filters.weight))
            for each in stepper.layers.values()
        ]
        self._health = health
        self._step = self._events = self._written = 0
        self._handle: RemovableHandle | None = None
        if stepper.hooked:
            # Behind the stepper's own hook; where the step itself is compiled, this must not be looked into.
            told: Any = torch.compiler.disable(self.step_made)
            self._handle = stepper.watches[-1].optimizer.register_step_post_hook(told)

    def leave(self) -> None:
        """Write what has not been written yet, and no more."""
        if self._step != self._written:
            self._write()
        # In a callback the optimizer is walking through its hooks: ours stays, and does nothing.
        if self._handle is not None and not self._stepper.calling:
            self._handle.remove()

    def step_made(self, *hooked: object) -> None:
        """A step of the last optimizer has ended. One that was skipped is none, and nested ones are one."""
        del hooked  # what torch tells a hook
        report = self._stepper.report
        if report.steps == self._step or self._stepper.left:
            return
        if report.steps != self._step + 1:  # another time's state was loaded
            self._events = sum(event.step < report.steps - 1 for event in report.events)
        self._step = report.steps
        due = report.steps % self._every == 0 or len(report.events) > self._events
        if due and not self._log.failed:
            self._write()
        if self._health is not None and self._health.due(report.steps) and not self._log.failed:
            found = self._health.values()
            if found:
                self._log.write(report.steps, found)

    def _write(self) -> None:
        report = self._stepper.report
        self._log.write(report.steps, self.values())
        self._written, self._events = report.steps, len(report.events)

    def values(self) -> dict[str, float]:
        """The numbers as they are now, by name; ``docs/trainers.md`` says what each means."""
        report, stepper = self._stepper.report, self._stepper
        filters = max(sum(report.layers.values()), 1)
        new = report.events[self._events :]
        kept = {name: sum(len(each) for each in getattr(report, name).values()) for name in _KEPT}
        renewed = sum(len(event.filters) for event in new)
        asked = frozenset[str]() if stepper.lookout is None else stepper.lookout.activity.asked
        values: dict[str, float] = {
            "renewed": report.renewed,
            **{f"renewed/{event.layer}": 0 for event in new},
            "suspects": sum(report.layers.get(path, 0) for path in asked),
            **kept,
            "out": sum(len(each) for each in report.resting.values()),
            "guarded": sum(report.guarded.values()),
            "refused": report.refused,
            "dead_share": (renewed + sum(kept.values())) / filters,
            "young_share": self._young() / filters,
            "seconds": report.seconds,
        }
        for event in new:
            values[f"renewed/{event.layer}"] += len(event.filters)
        return {f"regrow/{name}": value for name, value in values.items()}

    def _young(self) -> int:
        """Filters with an entry whose optimizer state is not yet that of an old one."""
        count = 0
        for watch in self._stepper.watches:
            young = {} if watch.surgeon is None else watch.surgeon.young
            for filters, weight in self._weights if young else ():
                entries = young.get(weight)
                if entries is not None:
                    born = (entries.births.numbers() > 0).expand(weight.shape)
                    count += int(rows(born, filters).any(-1).sum())
        return count


def step_log(
    stepper: Stepper, log: Log | Written | None, *, every: int, inspect_on: Any, inspect_every: int
) -> StepLog | None:
    """What `attach` was told to write; of several ranks the first one writes for all."""
    health = None
    if inspect_on is not None:
        if log is None:
            raise ConfigError("inspect_on needs a log: give attach(log=...) too (attach)")
        health = HealthLog(stepper, inspect_on, every=inspect_every)
    if log is None or not stepper.ranks.leads:
        return None
    return StepLog(stepper, log, every=every, health=health)
