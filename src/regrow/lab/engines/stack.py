"""Stacks of networks in lockstep: the hand-written passes of `regrow.engine`, several times as fast for small ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow import engine
from regrow.engine import Answers, Program, Stack, StackOptimizer, program_of
from regrow.lab.assembly import step_settings
from regrow.lab.engines.feed import Feed, Shown
from regrow.lab.measure import finite
from regrow.lab.member import Member
from regrow.loop import Regrower
from regrow.study.document import Training


@final
class StackEngine:
    """Networks of one kind, batch by batch side by side; recipes are called before and after each step.

    What a network gets has the same bits alone and beside any others (on the CPU). Networks may be in different epochs:
    only the sizes of their batches must agree. When others come or some leave, a new stack takes the numbers over.
    """

    def __init__(self, *, batched: bool | None = None) -> None:
        # One call for all networks, as it pays on a GPU; None: not on the CPU.
        self._batched = batched
        self._models: tuple[nn.Module, ...] = ()
        self._program: Program | None = None
        self._steps: StackOptimizer | None = None
        self._feed = Feed()

    def train_epoch(
        self, members: Sequence[Member], epochs: Sequence[int]
    ) -> list[tuple[float, float]]:
        """Train each for one epoch, as `ModuleEngine` does."""
        optimizer = self._joined(members)
        stack, training = optimizer.stack, members[0].training
        answers = Answers(len(members), device=members[0].device)
        outputs = _outputs(members, epochs)
        for member in members:
            if not member.model.training:
                member.model.train()
        for step, batch in enumerate(self._feed.epoch(stack, members, epochs)):
            for member, epoch in zip(members, epochs, strict=True):
                member.set_rate(epoch, step)
            _tell(members, batch, first=step == 0)
            stack.learn(
                None if batch.laid else batch.images,
                batch.labels,
                answers=answers,
                reduction=training.loss_reduction,
                shape=batch.shape,
                outputs=outputs,
            )
            _step(members, optimizer, answers)
        loss_sum, right = answers.sums()
        seen = members[0].seen_in_epoch
        return [
            (one / seen, hits / seen)
            for one, hits in zip(loss_sum.tolist(), right.tolist(), strict=True)
        ]

    def finite(self, members: Sequence[Member]) -> list[bool]:
        """Look at the sum of all weights of each, which is no number where one of them is none."""
        sums = self._joined(members).stack.memory.parameters.flat.detach().sum(1).tolist()
        # Large weights may have an infinite sum.
        return [
            math.isfinite(each) or finite(member.model)
            for each, member in zip(sums, members, strict=True)
        ]

    def _joined(self, members: Sequence[Member]) -> StackOptimizer:
        """The stack of these networks: that of the last epoch, where they are the same."""
        models = tuple(member.model for member in members)
        if self._steps is None or models != self._models:
            if self._program is None:
                self._program = program_of(models[0])
            stack = Stack(
                models, program=self._program, batched=self._batched, loss=members[0].loss
            )
            optimizers = [member.optimizer for member in members]
            self._steps = stack_optimizer(members[0].training, stack, optimizers)
            self._models = models
        return self._steps


def _outputs(members: Sequence[Member], epochs: Sequence[int]) -> Tensor | None:
    """How many outputs of each network take part, (N,), where not all of them do."""
    found = [member.task(epoch).outputs for member, epoch in zip(members, epochs, strict=True)]
    if None in found:
        return None  # they are of one stream: all have a number, or none
    return torch.tensor(found, device=members[0].device)


def _tell(members: Sequence[Member], batch: Shown, *, first: bool) -> None:
    """Each recipe what its network is about to see: for a gain check that waits, and renewals by what was heard."""
    for number, member in enumerate(members):
        regrower = member.regrower
        if regrower is not None and (first or regrower.awaits_pass):
            regrower.about_to_pass(batch.of(number))


def _step(members: Sequence[Member], optimizer: StackOptimizer, answers: Answers) -> None:
    """One step of all networks, with what each does before and after it."""
    limit = members[0].training.clip_grad_norm
    if limit is not None:
        for member in members:
            nn.utils.clip_grad_norm_(member.model.parameters(), limit)
    acting = [
        (number, member.regrower)
        for number, member in enumerate(members)
        if member.regrower is not None
    ]
    for number, regrower in acting:
        if regrower.awaits_loss:
            regrower.tell(loss=answers.newest()[number])
        if regrower.watched:
            _show(regrower, optimizer.stack, number)
        regrower.before_step()
    optimizer.step()
    for _, regrower in acting:
        regrower.after_step()


def _show(regrower: Regrower, stack: Stack, network: int) -> None:
    """What the pass has shown of the layers that a recipe watches: no module was called in it."""
    readers = {path: stack.program.reader(path) for path in regrower.watched}
    regrower.show(
        {path: stack.heard(reader, network) for path, reader in readers.items() if reader},
        inputs={path: stack.heard(path, network) for path in readers},
    )


def stack_optimizer(
    training: Training, stack: Stack, optimizers: Sequence[Optimizer]
) -> StackOptimizer:
    """What makes the steps of torch optimizers in a stack."""
    rates = [float(one.param_groups[0]["lr"]) for one in optimizers]
    settings = step_settings(training)
    kinds: dict[str, Any] = {"sgd": engine.SGD, "adam": engine.Adam, "adamw": engine.AdamW}
    return kinds[training.optimizer](stack, lr=rates, optimizers=optimizers, **settings)
