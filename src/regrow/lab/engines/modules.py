"""The plain engine: modules, autograd and torch's optimizers, any network after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from regrow.lab.measure import finite, right_answers, task_loss
from regrow.lab.member import Member


@final
class ModuleEngine:
    """The steps as a user would write them; recipes act by the optimizers' hooks."""

    def train_epoch(
        self, members: Sequence[Member], epochs: Sequence[int]
    ) -> list[tuple[float, float]]:
        """Train each for one epoch: mean loss and share of right predictions, as met; of numbers, nothing is right."""
        return [_train(member, epoch) for member, epoch in zip(members, epochs, strict=True)]

    def finite(self, members: Sequence[Member]) -> list[bool]:
        """Whether all weights of each network are finite numbers."""
        return [finite(member.model) for member in members]


def _train(member: Member, epoch: int) -> tuple[float, float]:
    model = member.model
    torch.manual_seed(member.noise_key(epoch))
    loss_sum = torch.zeros((), dtype=torch.float64, device="cpu")
    right = torch.zeros((), dtype=torch.int64, device="cpu")
    model.train()
    part = member.task(epoch).outputs
    for step, (batch, images, labels) in enumerate(member.batches(epoch)):
        member.set_rate(epoch, step)
        outputs = model(images)
        if part is not None:
            outputs = outputs[:, :part]
        loss = learn(member, outputs, batch, images, labels)
        share = len(batch) if member.training.loss_reduction == "mean" else 1
        loss_sum += loss.to(torch.float64) * share
        if member.loss == "cross-entropy":
            right += right_answers(outputs.detach(), labels).sum()
    seen = member.seen_in_epoch
    return float(loss_sum) / seen, int(right) / seen


def learn(member: Member, outputs: Tensor, batch: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Make one step from what the network gave: the loss of the task, without what is added to it."""
    training, model, optimizer = member.training, member.model, member.optimizer
    loss = task_loss(member.loss, outputs, labels, reduction=training.loss_reduction)
    beside = member.beside(outputs, images, batch)
    optimizer.zero_grad(set_to_none=True)
    torch.stack([loss, *beside]).sum().backward() if beside else loss.backward()
    if training.clip_grad_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), training.clip_grad_norm)
    if member.regrower is not None:
        member.regrower.tell(loss=loss.detach())
    optimizer.step()
    return loss.detach()
