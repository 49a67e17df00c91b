"""One training run: a model, a seed, an arm; the same bits every time, also after an interruption."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from regrow.errors import NoEffectWarning, NonFiniteWarning, RegrowWarning, StateError
from regrow.graph import Filters, trace
from regrow.history import Renewed, Report
from regrow.lab.assembly import attach_recipe, build_model, build_optimizer, steps_per_epoch
from regrow.lab.checkpoint import CheckpointFile
from regrow.lab.data import Dataset
from regrow.lab.data.augment import crop_flip
from regrow.lab.data.held_out import hold_out
from regrow.lab.diagnostics import Diagnosis
from regrow.lab.measure import finite_or_none, majority_share, measure, right_answers
from regrow.lab.outcome import EpochRecord, RenewalRecord, RestingRecord, TrialResult
from regrow.lab.trials import TrialSpec
from regrow.losses import overlap_penalty

STUCK_MARGIN: Final = 0.02
"""A network within this of the majority class's share has learned nothing."""


def run_trial(
    spec: TrialSpec,
    data: Dataset,
    *,
    like: Sequence[Renewed] | None = None,
    checkpoint: CheckpointFile | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
) -> TrialResult:
    """Train one network.

    The initial weights depend on the seed alone, the order of the images and torch's global
    generator (dropout) on seed and epoch: arms of one seed are paired, and an interrupted trial needs
    no generator's state to go on. torch's global generator is left as it was.

    Args:
        spec: What to train.
        data: Its data set, in memory.
        like: For a control, the renewals of the trial that it replays.
        checkpoint: Where to go on from, and where to save.
        on_epoch: Called after each epoch; what it raises ends the trial.

    Returns:
        The result. With a non-finite loss or weight the trial stops after that epoch as ``diverged``
        and its accuracy is what the network then measures, non-finite outputs counted as wrong.

    Examples:
        See `regrow.lab.executor.run_study`, which runs all trials of a study.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # Both are told elsewhere: by the preflight for the whole study, and by a column of the store.
        warnings.simplefilter("ignore", NoEffectWarning)
        warnings.simplefilter("ignore", NonFiniteWarning)
        run = _resumed(spec, data, like, checkpoint)
        while not run.ended:
            record = run.train_epoch()
            if checkpoint is not None and not run.ended:
                checkpoint.save_if_due(run.state())
            if on_epoch is not None:
                on_epoch(record)
        return run.result()


class _Run:
    """A trial in progress."""

    def __init__(self, spec: TrialSpec, data: Dataset, like: Sequence[Renewed] | None) -> None:
        self.spec = spec
        self.data, *aside = hold_out(data, spec.train.held_out)
        self.held_out = (aside[0], aside[1]) if spec.train.held_out else None
        self.model = build_model(spec, self.data, seed=spec.seed)
        self.optimizer = build_optimizer(spec.train, self.model)
        self.regrower = attach_recipe(
            spec, self.data, self.model, self.optimizer, held_out=self.held_out, like=like
        )
        self.per_epoch = steps_per_epoch(spec.train, len(self.data.x_train))
        self._apart = self._kept_apart()
        self.diagnosis = Diagnosis(
            spec.diagnostics,
            model=self.model,
            example=self.data.x_train[:2],
            held_out=self.held_out,
            seed=spec.seed,
        )
        self.records: list[EpochRecord] = []
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
        loss, accuracy = self._pass_over_data(epoch)
        finite = math.isfinite(loss) and self._finite_weights()
        self.diverged = not finite and not self._restart_ahead(epoch)
        test: tuple[float | None, float | None] = (None, None)
        if epoch % training.eval_every_epochs == 0 or epoch == training.epochs or self.diverged:
            test = measure(self.model, self.data.x_test, self.data.y_test)
        started += self._diagnose(epoch)
        stuck = not finite or accuracy <= majority_share(self.data.y_train) + STUCK_MARGIN
        if stuck and not self.diverged and self._checks_at(epoch):
            self._restart()
        record = EpochRecord(
            epoch=epoch,
            train_loss=finite_or_none(loss),
            train_accuracy=accuracy,
            test_loss=test[0],
            test_accuracy=test[1],
            seconds=time.perf_counter() - started,
        )
        self.records.append(record)
        return record

    def _pass_over_data(self, epoch: int) -> tuple[float, float]:
        """One epoch of steps: mean loss and share of right predictions, as they were met."""
        training, seed = self.spec.train, self.spec.seed
        torch.manual_seed(_key("noise", seed, epoch))
        order = torch.randperm(
            len(self.data.x_train),
            generator=torch.Generator().manual_seed(_key("order", seed, epoch)),
        )
        moves = torch.Generator().manual_seed(_key("augment", seed, epoch))
        self.model.train()
        loss_sum = torch.zeros((), dtype=torch.float64)
        right = torch.zeros((), dtype=torch.int64)
        seen = 0
        for index in range(self.per_epoch):
            batch = order[index * training.batch_size : (index + 1) * training.batch_size]
            images, labels = self.data.x_train[batch], self.data.y_train[batch]
            if training.augment == "crop-flip":
                images = crop_flip(images, moves)
            if training.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            outputs = self.model(images)
            loss = F.cross_entropy(outputs, labels, reduction=training.loss_reduction)
            self._step(loss, step=(epoch - 1) * self.per_epoch + index)
            share = len(batch) if training.loss_reduction == "mean" else 1
            loss_sum += loss.detach().to(torch.float64) * share
            right += right_answers(outputs.detach(), labels).sum()
            seen += len(batch)
        return float(loss_sum) / seen, int(right) / seen

    def _step(self, loss: Tensor, *, step: int) -> None:
        training = self.spec.train
        if training.schedule == "cosine":
            share = step / (self.per_epoch * training.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = training.lr * 0.5 * (1.0 + math.cos(math.pi * share))
        self.optimizer.zero_grad(set_to_none=True)
        if self._apart:
            penalty = overlap_penalty(self.model, self._apart, weight=training.overlap_penalty)
            loss = loss + penalty
        loss.backward()
        if training.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_grad_norm)
        if self.regrower is not None:
            self.regrower.tell(loss=loss.detach())
        self.optimizer.step()

    def _kept_apart(self) -> list[Filters]:
        """The layers whose filters' overlap is part of the loss."""
        if not self.spec.train.overlap_penalty:
            return []
        return list(trace(self.model, self.data.x_train[:2]).renewable())

    def _finite_weights(self) -> bool:
        with torch.no_grad():
            return all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())

    def _diagnose(self, epoch: int) -> float:
        """Look at the network beside its accuracy: the seconds that it took."""
        out = {} if self.regrower is None else self.regrower.report.resting
        return self.diagnosis.look(self.model, epoch=epoch, out=out)

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

    def _restart(self) -> None:
        """A fresh network and optimizer; data order and budget go on."""
        self.restarts += 1
        seed = _key("restart", self.spec.seed, self.restarts)
        self.model = build_model(self.spec, self.data, seed=seed)
        self.optimizer = build_optimizer(self.spec.train, self.model)

    # ---- saving and ending

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on, and what was measured so far."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "regrower": None if self.regrower is None else self.regrower.state_dict(),
            "records": [asdict(record) for record in self.records],
            "restarts": self.restarts,
            "diagnosis": self.diagnosis.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.regrower is not None:
            self.regrower.load_state_dict(state["regrower"])
        self.records = [EpochRecord(**record) for record in state["records"]]
        self.restarts = state["restarts"]
        self.diagnosis.load_state_dict(state["diagnosis"])

    def result(self) -> TrialResult:
        """The trial as it ended."""
        report = None if self.regrower is None else self.regrower.report
        if self.regrower is not None:
            with warnings.catch_warnings():
                # Filters that stay out are told by the preflight, and by a table of the store.
                warnings.simplefilter("ignore", RegrowWarning)
                self.regrower.detach()
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
            nonfinite=0 if report is None else report.nonfinite,
            restarts=self.restarts,
            recipe_seconds=0.0 if report is None else report.seconds,
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


def _resumed(
    spec: TrialSpec,
    data: Dataset,
    like: Sequence[Renewed] | None,
    checkpoint: CheckpointFile | None,
) -> _Run:
    """The trial where its checkpoint left it, or at its start."""
    run = _Run(spec, data, like)
    state = None if checkpoint is None else checkpoint.load()
    if checkpoint is None or state is None:
        return run
    try:
        run.load(state)
    except (StateError, RuntimeError, KeyError) as error:
        # Whole by its checksum, yet not of this network: a user's model has changed since.
        checkpoint.set_aside(f"it does not fit the trial ({error})")
        return _Run(spec, data, like)
    return run


def _key(purpose: str, seed: int, index: int) -> int:
    """A seed for torch's generators. They use its low 32 bits, so these are a hash of everything."""
    digest = hashlib.blake2b(f"{purpose}/{seed}/{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
