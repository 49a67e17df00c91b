"""One training run: a model, a seed, an arm; the same bits every time, also after an interruption."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import torch

from regrow.errors import NoEffectWarning, NonFiniteWarning, RegrowWarning, StateError
from regrow.history import Grafted, Renewed, Report
from regrow.lab.assembly import attach_partner_recipe, attach_recipe, steps_per_epoch
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.data.held_out import hold_out
from regrow.lab.diagnostics import Diagnosis
from regrow.lab.measure import finite_or_none, majority_share, measure
from regrow.lab.member import Member
from regrow.lab.outcome import (
    EpochRecord,
    GraftRecord,
    PartnerRecord,
    RenewalRecord,
    RestingRecord,
    TogetherRecord,
    TrialResult,
)
from regrow.lab.teaching import Teaching
from regrow.lab.together import together
from regrow.lab.trials import TrialSpec
from regrow.lab.weights import Weights, WeightsFile

STUCK_MARGIN: Final = 0.02
"""A network within this of the majority class's share has learned nothing."""


def run_trial(
    spec: TrialSpec,
    data: Dataset,
    *,
    like: Sequence[Renewed] | None = None,
    teachers: Sequence[Weights] = (),
    weights: WeightsFile | None = None,
    checkpoint: CheckpointFile | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
) -> TrialResult:
    """Train one network, or the several networks of an arm with partners, one after the other in each epoch.

    The initial weights depend on the seed alone, the order of the images and torch's global
    generator (dropout) on seed and epoch: arms of one seed are paired, and an interrupted trial needs
    no generator's state to go on. torch's global generator is left as it was. Of several networks the first is the
    one that other arms train alone, and the trial's metrics are their means.

    Args:
        spec: What to train.
        data: Its data set, in memory.
        like: For a control, the renewals of the trial that it replays.
        teachers: The weights of each of ``spec.teachers``.
        weights: Where the final weights are kept, where they teach another trial.
        checkpoint: Where to go on from, and where to save.
        on_epoch: Called after each epoch; what it raises ends the trial.

    Returns:
        The result. With a non-finite loss or weight (in all of several networks) the trial stops after that epoch as
        ``diverged`` and its accuracy is what the network then measures, non-finite outputs counted as wrong.

    Examples:
        See `regrow.lab.executor.run_study`, which runs all trials of a study.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Both are told elsewhere: by the preflight for the whole study, and by a column of the store.
        warnings.simplefilter("ignore", NoEffectWarning)
        warnings.simplefilter("ignore", NonFiniteWarning)
        run = _resumed(lambda: _Run(spec, data, like=like, teachers=teachers), checkpoint)
        while not run.ended:
            record = run.train_epoch()
            if checkpoint is not None and not run.ended:
                checkpoint.save_if_due(run.state())
            if on_epoch is not None:
                on_epoch(record)
        if weights is not None:
            run.keep(weights)
        return run.result()


class _Run:
    """A trial in progress."""

    def __init__(
        self,
        spec: TrialSpec,
        data: Dataset,
        *,
        like: Sequence[Renewed] | None,
        teachers: Sequence[Weights],
    ) -> None:
        self.spec = spec
        self.data, *aside = hold_out(data, spec.train.held_out)
        self.held_out = (aside[0], aside[1]) if spec.train.held_out else None
        teaching = Teaching(spec, self.data, teachers) if spec.teachers else None
        self.members = [
            Member(spec, self.data, place=place, teaching=teaching)
            for place in range(spec.partners)
        ]
        first = self.members[0]
        first.regrower = attach_recipe(
            spec, self.data, first.model, first.optimizer, held_out=self.held_out, like=like
        )
        self.grafter = attach_partner_recipe(
            spec, self.data, [(each.model, each.optimizer) for each in self.members]
        )
        self.per_epoch = steps_per_epoch(spec.train, len(self.data.x_train))
        self.diagnosis = Diagnosis(
            spec.diagnostics,
            model=first.model,
            example=self.data.x_train[:2],
            held_out=self.held_out,
            seed=spec.seed,
        )
        self.records: list[EpochRecord] = []
        self.partners: list[PartnerRecord] = []
        self.restarts = 0
        self.diverged = False

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.records)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        return self.diverged or self.epoch == self.spec.train.epochs

    # ---- training

    def train_epoch(self) -> EpochRecord:
        """Train one epoch, evaluate, and restart if the arm does that."""
        started = time.perf_counter()
        training, epoch = self.spec.train, self.epoch + 1
        trained = [member.train_epoch(epoch) for member in self.members]
        loss, accuracy = _mean([each[0] for each in trained]), _mean([each[1] for each in trained])
        finite = any(
            math.isfinite(each[0]) and member.finite()
            for each, member in zip(trained, self.members, strict=True)
        )
        self.diverged = not finite and not self._restart_ahead(epoch)
        looks = epoch % training.eval_every_epochs == 0 or epoch == training.epochs or self.diverged
        tests = [self._test(member) if looks else (None, None) for member in self.members]
        started += self._diagnose(epoch)
        stuck = not finite or accuracy <= majority_share(self.data.y_train) + STUCK_MARGIN
        if stuck and not self.diverged and self._checks_at(epoch):
            self.restarts += 1
            self.members[0].restart(self.restarts)
        if len(self.members) > 1:
            self.partners += _partner_records(epoch, self.members, trained, tests)
        record = EpochRecord(
            epoch=epoch,
            train_loss=finite_or_none(loss),
            train_accuracy=accuracy,
            test_loss=_mean_or_none([test[0] for test in tests]),
            test_accuracy=_mean_or_none([test[1] for test in tests]),
            seconds=time.perf_counter() - started,
        )
        self.records.append(record)
        return record

    def _test(self, member: Member) -> tuple[float | None, float | None]:
        return measure(member.model, self.data.x_test, self.data.y_test)

    def _diagnose(self, epoch: int) -> float:
        """Look at the networks beside their accuracy: the seconds that it took."""
        regrower = self.members[0].regrower
        out = {} if regrower is None else regrower.report.resting
        models = [member.model for member in self.members]
        return self.diagnosis.look(models, epoch=epoch, out=out)

    # ---- the arm "restart"

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
        """Whether a check is still to come that can save a network which is not finite."""
        return any(self._checks_at(later) for later in range(epoch, self.spec.train.epochs))

    # ---- saving and ending

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, and what was measured so far."""
        return {
            "members": [member.state() for member in self.members],
            "grafter": None if self.grafter is None else self.grafter.state_dict(),
            "records": [asdict(record) for record in self.records],
            "partners": [asdict(record) for record in self.partners],
            "restarts": self.restarts,
            "diagnosis": self.diagnosis.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        for member, saved in zip(self.members, state["members"], strict=True):
            member.load(saved)
        if self.grafter is not None:
            self.grafter.load_state_dict(state["grafter"])
        self.records = [EpochRecord(**record) for record in state["records"]]
        self.partners = [PartnerRecord(**record) for record in state["partners"]]
        self.restarts = state["restarts"]
        self.diagnosis.load_state_dict(state["diagnosis"])

    def keep(self, weights: WeightsFile) -> None:
        """Write the networks as they are, for the trials that they teach."""
        weights.save(self.spec.model, [member.model.state_dict() for member in self.members])

    def result(self) -> TrialResult:
        """The trial as it ended."""
        regrower = self.members[0].regrower
        report = None if regrower is None else regrower.report
        if regrower is not None:
            with warnings.catch_warnings():
                # Filters that stay out are told by the preflight, and by a table of the store.
                warnings.simplefilter("ignore", RegrowWarning)
                regrower.detach()
        if self.grafter is not None:
            self.grafter.detach()
        grafted = None if self.grafter is None else self.grafter.report
        return TrialResult(
            trial=self.spec.trial,
            cell=self.spec.cell,
            arm=self.spec.label,
            seed=self.spec.seed,
            status="diverged" if self.diverged else "finished",
            majority_share=majority_share(self.data.y_test),
            epochs=tuple(self.records),
            steps=self.epoch * self.per_epoch,
            renewals=() if report is None else self._renewals(report.events),
            resting=() if report is None else _resting(report),
            layers=tuple(
                (self.diagnosis.layers or ({} if report is None else report.layers)).items()
            ),
            overlaps=tuple(self.diagnosis.overlaps),
            correlations=tuple(self.diagnosis.correlations),
            partners=tuple(self.partners),
            together=self._together(),
            grafts=() if grafted is None else self._grafts(grafted.events),
            weights=tuple(self.diagnosis.weights.records),
            nonfinite=0 if report is None else report.nonfinite,
            restarts=self.restarts,
            recipe_seconds=(0.0 if report is None else report.seconds)
            + (0.0 if grafted is None else grafted.seconds),
        )

    def _together(self) -> tuple[TogetherRecord, ...]:
        """What several networks are worth as one."""
        if len(self.members) == 1:
            return ()
        last = self.partners[-len(self.members) :]
        return together(
            [member.model for member in self.members],
            spec=self.spec,
            data=self.data,
            held_out=self.held_out,
            train_losses=[
                math.inf if record.train_loss is None else record.train_loss for record in last
            ],
        )

    def _grafts(self, events: Sequence[Grafted]) -> tuple[GraftRecord, ...]:
        return tuple(
            GraftRecord(
                step=event.step,
                epoch=event.step // self.per_epoch + 1,
                partner=event.partner,
                layer=event.layer,
                share=finite_or_none(event.share),
                information=finite_or_none(event.information),
                partner_information=finite_or_none(event.partner_information),
                distance=finite_or_none(event.distance),
            )
            for event in events
        )

    def _renewals(self, events: Sequence[Renewed]) -> tuple[RenewalRecord, ...]:
        return tuple(
            RenewalRecord(
                step=event.step,
                epoch=event.step // self.per_epoch + 1,
                layer=event.layer,
                filter=index,
                score=finite_or_none(score),
                dropped=event.dropped,
                change=None if event.change is None else finite_or_none(event.change),
            )
            for event in events
            for index, score in zip(event.filters, event.scores, strict=True)
        )


def _resting(report: Report) -> tuple[RestingRecord, ...]:
    """The filters that never came back: the training ended while they were out."""
    return tuple(
        RestingRecord(layer=layer, filter=index, dropped=report.resting_since)
        for layer, filters in report.resting.items()
        for index in filters
        if report.resting_since is not None
    )


def _partner_records(
    epoch: int,
    members: Sequence[Member],
    trained: Sequence[tuple[float, float]],
    tests: Sequence[tuple[float | None, float | None]],
) -> list[PartnerRecord]:
    return [
        PartnerRecord(
            epoch=epoch,
            partner=place,
            lr=member.lr,
            train_loss=finite_or_none(train[0]),
            train_accuracy=train[1],
            test_loss=test[0],
            test_accuracy=test[1],
        )
        for place, (member, train, test) in enumerate(zip(members, trained, tests, strict=True))
    ]


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else math.fsum(values) / len(values)


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean of what was measured; None where one of them is none."""
    known = [value for value in values if value is not None]
    return _mean(known) if len(known) == len(values) else None


def _resumed(start: Callable[[], _Run], checkpoint: CheckpointFile | None) -> _Run:
    """The trial where its checkpoint left it, or at its start."""
    run = start()
    state = None if checkpoint is None else checkpoint.load()
    if checkpoint is None or state is None:
        return run
    try:
        run.load(state)
    except (StateError, RuntimeError, KeyError, ValueError) as error:
        # Whole by its checksum, yet not of this network: a user's model has changed since.
        checkpoint.set_aside(f"it does not fit the trial ({error})")
        return start()
    return run
