"""Stacks of networks in lockstep: the hand-written passes of `regrow.engine`, several times as fast for small ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from regrow import engine
from regrow.engine import Program, Stack, StackOptimizer, program_of
from regrow.lab.assembly import step_settings
from regrow.lab.data.augment import crop_flip
from regrow.lab.member import Member
from regrow.loop import Regrower
from regrow.study.document import Training


@final
class StackEngine:
    """Networks of one kind, batch by batch side by side; recipes are called before and after each step.

    What a network gets has the same bits alone and beside any others (on the CPU). Networks may be in different epochs:
    only the sizes of their batches must agree. When others come or some leave, a new stack takes the numbers over.

    Args:
        batched: One call for all networks, as it pays on a GPU; None: not on the CPU.

    Edge cases:
        A network that the engine cannot run: an UnsupportedError.
    """

    def __init__(self, *, batched: bool | None = None) -> None:
        self._batched = batched
        self._models: tuple[nn.Module, ...] = ()
        self._program: Program | None = None
        self._steps: StackOptimizer | None = None

    def train_epoch(
        self, members: Sequence[Member], epochs: Sequence[int]
    ) -> list[tuple[float, float]]:
        """Train each network for one epoch."""
        optimizer = self._joined(members)
        training, device = members[0].training, members[0].device
        loss_sum = torch.zeros(len(members), dtype=torch.float64, device=device)
        right = torch.zeros(len(members), dtype=torch.int64, device=device)
        for member in members:
            member.model.train()
        for step, (images, labels) in enumerate(_batches(members, epochs)):
            for member, epoch in zip(members, epochs, strict=True):
                member.set_rate(epoch, step)
            _tell(members, images, first=step == 0)
            loss, correct = optimizer.stack.gradients(
                images, labels, reduction=training.loss_reduction
            )
            _step(members, optimizer, loss)
            share = images.shape[1] if training.loss_reduction == "mean" else 1
            loss_sum += loss.to(torch.float64) * share
            right += correct
        seen = members[0].seen_in_epoch
        return [
            (one / seen, hits / seen)
            for one, hits in zip(loss_sum.tolist(), right.tolist(), strict=True)
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


def _batches(members: Sequence[Member], epochs: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (N, B, C, H, W) and labels (N, B) of all networks, each in its own order."""
    first = members[0]
    pairs = list(zip(members, epochs, strict=True))
    order = torch.stack([member.order(epoch) for member, epoch in pairs]).to(first.device)
    moves = [member.moves(epoch) for member, epoch in pairs]
    shown = [member.shown(epoch) for member, epoch in pairs]
    x, y = shown[0]
    # Without a stream all have the same images, and one call takes those of all.
    alike = all(images is x and labels is y for images, labels in shown)
    for batch in order.split(first.training.batch_size, dim=1)[: first.steps_per_epoch]:
        if alike:
            images, labels = x[batch], y[batch]
        else:
            own = list(zip(shown, batch, strict=True))
            # Each network's images into their place: stacked afterwards, they would be copied twice.
            images = x.new_empty(len(own), batch.shape[1], *x.shape[1:])
            for place, ((there, _), rows) in zip(images, own, strict=True):
                torch.index_select(there, 0, rows, out=place)
            labels = torch.stack([there[rows] for (_, there), rows in own])
        if first.training.augment == "crop-flip":
            images = torch.stack(
                [crop_flip(one, move) for one, move in zip(images, moves, strict=True)]
            )
        yield images, labels


def _tell(members: Sequence[Member], images: Tensor, *, first: bool) -> None:
    """Each recipe what its network is about to see: for a gain check that waits, and renewals by what was heard."""
    for number, member in enumerate(members):
        regrower = member.regrower
        if regrower is not None and (first or regrower.awaits_pass):
            regrower.about_to_pass(images[number])


def _step(members: Sequence[Member], optimizer: StackOptimizer, losses: Tensor) -> None:
    """One step of all networks, with what each does before and after it."""
    limit = members[0].training.clip_grad_norm
    if limit is not None:
        for member in members:
            nn.utils.clip_grad_norm_(member.model.parameters(), limit)
    acting = [
        (number, member.regrower, loss)
        for number, (member, loss) in enumerate(zip(members, losses, strict=True))
        if member.regrower is not None
    ]
    for number, regrower, loss in acting:
        regrower.tell(loss=loss)
        if regrower.watched:
            _show(regrower, optimizer.stack, number)
        regrower.before_step()
    optimizer.step()
    for _, regrower, _ in acting:
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
    if training.optimizer == "sgd":
        sgd = [one for one in optimizers if isinstance(one, SGD)]
        return engine.SGD(stack, lr=rates, optimizers=sgd, **settings)
    kind = engine.Adam if training.optimizer == "adam" else engine.AdamW
    adam = [one for one in optimizers if isinstance(one, Adam)]
    return kind(stack, lr=rates, optimizers=adam, **settings)
