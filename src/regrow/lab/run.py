"""A run in progress: the network or networks of a trial, or of several trials that have not differed yet.

Made by `lab/trial`; asks `lab/assembly` for its members, lets an engine train them, and gives what is stored of a
trial.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Final

from regrow.errors import RegrowWarning
from regrow.history import Renewed, Report
from regrow.lab import assembly
from regrow.lab.data import Dataset
from regrow.lab.data.dataset import hold_out
from regrow.lab.diagnostics import Diagnosis
from regrow.lab.ending import graft_records, partner_records, renewal_records, resting_records
from regrow.lab.measure import finite_or_none, majority_share, mean_or_none, measure
from regrow.lab.member import Member
from regrow.lab.sharing.crew import Crew
from regrow.lab.sharing.families import PLAIN
from regrow.lab.task_log import TaskLog
from regrow.lab.teaching import Teaching
from regrow.lab.together import together
from regrow.lab.weights import Weights
from regrow.schedule import Clock
from regrow.study.partner_records import PartnerRecord
from regrow.study.records import (
    EpochRecord,
    LayerRecord,
    TrialResult,
)
from regrow.study.stream import AT_EACH_TASK
from regrow.study.trials import TrialSpec

STUCK_MARGIN: Final = 0.02
"""A network within this of the majority class's share has learned nothing."""


class Run:
    """One training in progress, that of one trial or of several that have been the same so far."""

    def __init__(
        self,
        # The trials; what they train is that of the first (`regrow.lab.sharing.families`).
        specs: Sequence[TrialSpec],
        data: Dataset,  # the data set
        *,
        like: Sequence[Renewed] | None = None,  # for a control, the renewals that it replays
        teachers: Sequence[Weights] = (),  # the weights of each of the first trial's teachers
        hooks: bool = True,  # recipes act by the optimizers' hooks; else the engine calls them
    ) -> None:
        self.spec = spec = specs[0]
        self.data = hold_out(data, spec.train.held_out)
        teaching = Teaching(spec, self.data, teachers) if spec.teachers else None
        self.members = [  # the networks: one, or those of an arm with partners
            Member(spec, self.data, place=place, teaching=teaching)
            for place in range(spec.partners)
        ]
        self.per_epoch = assembly.steps_of(spec, self.data)
        clock = Clock(
            total_steps=self.per_epoch * spec.train.epochs, steps_per_epoch=self.per_epoch
        )
        # The trials, where there are several; else None.
        self.crew = Crew(specs, clock=clock) if len(specs) > 1 else None
        first = self.members[0]
        self.records: list[EpochRecord] = []
        stream = spec.stream
        first.regrower = assembly.attach_recipe(
            spec,
            self.data,
            first.model,
            first.optimizer,
            recipe=self.crew.recipe if self.crew else assembly.arm_recipe(spec, like=like),
            hooks=hooks,
            newest=None if stream is None else lambda: first.task(self.epoch + 1),
        )
        if self.crew is not None:
            self.crew.watch(self._report)
        self.grafter = assembly.attach_partner_recipe(spec, self.data, self.members)
        self.diagnosis = Diagnosis(spec, first.model, self.data)
        self.tasks = None if stream is None else TaskLog(stream, spec, first.model, self.data)
        self.inside: list[float] = []  # seconds that the recipe has taken, epoch by epoch
        self.partners: list[PartnerRecord] = []
        self.restarts = 0
        self.diverged = False

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.records)

    @property
    def trials(self) -> tuple[TrialSpec, ...]:
        """The trials that this run still is."""
        return (self.spec,) if self.crew is None else self.crew.members

    @property
    def may_split(self) -> bool:
        """Whether two of them may come to differ in what is left of the training."""
        crew = self.crew
        return crew is not None and crew.may_split and self._steps_done <= crew.last_step

    @property
    def _steps_done(self) -> int:
        return self.epoch * self.per_epoch

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        return self.diverged or self.epoch == self.spec.train.epochs

    # ---- training

    def begin_epoch(self) -> None:
        """Where a task begins, the arm may begin anew, and its recipe may be told; elsewhere nothing happens."""
        stream, member = self.spec.stream, self.members[0]
        if stream is None or not stream.begins_task(self.epoch + 1):
            return
        if self.spec.recipe == AT_EACH_TASK:
            self.restarts += 1
            member.restart(self.restarts)
        elif stream.told and member.regrower is not None:
            member.regrower.boundary()

    def trained(
        self, found: Sequence[tuple[float, float]], *, finite: Sequence[bool], seconds: float
    ) -> EpochRecord:
        """Take an epoch down that an engine has trained: evaluate, and restart if the arm does that.

        Of each network: loss and share of right predictions, and whether its weights are numbers.
        """
        started = time.perf_counter() - seconds
        training, epoch = self.spec.train, self.epoch + 1
        loss, accuracy = (fmean(numbers) for numbers in zip(*found, strict=True))
        whole = any(
            math.isfinite(each[0]) and weights for each, weights in zip(found, finite, strict=True)
        )
        self.diverged = not whole and not self._restart_ahead(epoch)
        at_end = epoch > training.epochs - training.eval_last_epochs
        looks = epoch % training.eval_every_epochs == 0 or at_end or self.diverged
        if self.spec.stream is not None:
            looks = self.spec.stream.ends_task(epoch) or self.diverged
        tests = [self._test(member, epoch) if looks else (None, None) for member in self.members]
        started += self._diagnose(epoch)
        if not self.diverged and self._checks_at(epoch):
            stuck = accuracy <= majority_share(self.data.y_train) + STUCK_MARGIN
            if stuck or not whole:
                self.restarts += 1
                self.members[0].restart(self.restarts)
        if len(self.members) > 1:
            self.partners += partner_records(epoch, self.members, found, tests)
        record = EpochRecord(
            epoch=epoch,
            train_loss=finite_or_none(loss),
            train_accuracy=accuracy if self.spec.loss == "cross-entropy" else None,
            test_loss=mean_or_none([test[0] for test in tests]),
            test_accuracy=mean_or_none([test[1] for test in tests]),
            seconds=time.perf_counter() - started,
        )
        self.records.append(record)
        if self.tasks is not None:
            self.tasks.note(self.records)
        self.inside.append(self._report.seconds - sum(self.inside))
        return record

    @property
    def recipe_seconds(self) -> float:
        """What the recipe has taken so far."""
        return self._report.seconds

    @property
    def _report(self) -> Report:
        """What the recipe has told so far; nothing where there is none."""
        regrower = self.members[0].regrower
        return Report(recipe=PLAIN, layers={}) if regrower is None else regrower.report

    def _test(self, member: Member, epoch: int) -> tuple[float | None, float | None]:
        task = member.task(epoch)
        shown = task.test_images, task.test_labels
        return measure(member.model, *shown, loss=self.spec.loss, outputs=task.outputs)

    def _diagnose(self, epoch: int) -> float:
        """Look at the networks beside their accuracy: the seconds that it took."""
        models = [member.model for member in self.members]
        seconds = self.diagnosis.look(models, epoch=epoch, out=self._report.resting)
        if self.tasks is not None:
            first = self.members[0]
            seconds += self.tasks.look(first.model, first.task(epoch), first.optimizer, epoch=epoch)
        return seconds

    # ---- the arms "restart" and "restart-each-task"

    def _checks_at(self, epoch: int) -> bool:
        """Whether the arm may restart after this epoch."""
        settings = self.spec.settings
        return (
            self.spec.recipe == "restart"
            and epoch < self.spec.train.epochs
            and epoch % settings["check_epochs"] == 0
            and (settings["max_restarts"] is None or self.restarts < settings["max_restarts"])
        )

    def _restart_ahead(self, epoch: int) -> bool:
        """Whether a restart is still to come that can save a network which is not finite."""
        stream = self.spec.stream
        if stream is not None and self.spec.recipe == AT_EACH_TASK:
            return stream.task_of(epoch) < stream.tasks
        return any(self._checks_at(later) for later in range(epoch, self.spec.train.epochs))

    # ---- saving and ending

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, and what was measured so far.

        Its tensors are those in training, its records objects: `checkpoint.copied` and `plain` make values of them.
        """
        return {
            "members": [member.state() for member in self.members],
            "grafter": None if self.grafter is None else self.grafter.state_dict(),
            "records": list(self.records),
            "inside": list(self.inside),
            "partners": list(self.partners),
            "restarts": self.restarts,
            "diagnosis": self.diagnosis.state_dict(),
            "nonfinite": {} if self.crew is None else self.crew.nonfinite(),
            "tasks": None if self.tasks is None else self.tasks.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state, of the same trials or of these and others."""
        for member, saved in zip(self.members, state["members"], strict=True):
            member.load(saved)
        if self.grafter is not None:
            self.grafter.load_state_dict(state["grafter"])
        self.records = [EpochRecord(**record) for record in state["records"]]
        self.partners = [PartnerRecord(**record) for record in state["partners"]]
        self.restarts = state["restarts"]
        self.inside = list(state.get("inside", [0.0] * len(self.records)))
        self.diagnosis.load_state_dict(state["diagnosis"])
        if self.tasks is not None:
            self.tasks.load_state_dict(state["tasks"])
        counts: Mapping[str, int] = state.get("nonfinite") or {}
        report = self._report
        if self.crew is None:  # others of the crew that it was in may have looked longer
            report.nonfinite = counts.get(self.spec.trial, report.nonfinite)
            return
        if counts:
            self.crew.remember(counts)
        self.crew.watch(report)

    def results(self) -> tuple[TrialResult, ...]:
        """The trials as they ended: all the same but for names, and for what a recipe leaves beside the network."""
        regrower = self.members[0].regrower
        if regrower is not None:
            with warnings.catch_warnings():
                # Filters that stay out are told by the preflight, and by a table of the store.
                warnings.simplefilter("ignore", RegrowWarning)
                regrower.detach()
        if self.grafter is not None:
            self.grafter.detach()
        nothing, report = Report(recipe=PLAIN, layers={}), self._report
        counts = {self.spec.trial: report.nonfinite} if self.crew is None else self.crew.nonfinite()
        return tuple(
            self._result(spec, nothing if spec.recipe == PLAIN else report, counts[spec.trial])
            for spec in self.trials
        )

    def _result(self, spec: TrialSpec, report: Report, nonfinite: int) -> TrialResult:
        grafted = None if self.grafter is None else self.grafter.report
        models = [member.model for member in self.members]
        last = self.partners[-len(models) :]  # without any where there is one network
        streamed = self.tasks.found() if self.tasks else {}
        layers = self.tasks.layers if self.tasks else self.diagnosis.layers or report.layers
        return TrialResult(
            trial=spec.trial,
            cell=spec.cell,
            arm=spec.label,
            seed=spec.seed,
            status="diverged" if self.diverged else "finished",
            majority_share=self.tasks.chance if self.tasks else majority_share(self.data.y_test),
            epochs=self._epochs(without=spec.recipe == PLAIN),
            steps=self._steps_done,
            renewals=renewal_records(report.events, per_epoch=self.per_epoch),
            resting=resting_records(report),
            layers=tuple(LayerRecord(layer=path, filters=n) for path, n in layers.items()),
            **self.diagnosis.found(),
            **streamed,
            partners=tuple(self.partners),
            together=together(models, last, spec=self.spec, data=self.data) if last else (),
            grafts=graft_records(grafted.events if grafted else (), per_epoch=self.per_epoch),
            nonfinite=nonfinite,
            restarts=self.restarts,
            recipe_seconds=report.seconds + (grafted.seconds if grafted else 0.0),
        )

    def _epochs(self, *, without: bool) -> tuple[EpochRecord, ...]:
        """The epochs; the time of a trial that has no recipe is that of the run without it."""
        if not without:
            return tuple(self.records)
        return tuple(
            replace(record, seconds=record.seconds - inside)
            for record, inside in zip(self.records, self.inside, strict=True)
        )
