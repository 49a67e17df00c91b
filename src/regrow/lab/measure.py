"""What a network is worth: its loss, by the name that a stream gives it, right answers, the share of a constant answer.

Stacks have their own arithmetic for the losses (`regrow.engine.loss`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from regrow.study.task_stream import LossName

_TEST_BATCH: Final = 1024


def measure(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: LossName = "cross-entropy",
    outputs: int | None = None,
) -> tuple[float | None, float | None]:
    """Mean loss, None if it is not finite, and share of right predictions, None where numbers are learnt.

    In evaluation mode, of the outputs that take part; None: all.
    """
    scores = logits_of(model, x)[:, :outputs]
    batches = zip(scores.split(_TEST_BATCH), y.split(_TEST_BATCH), strict=True)
    losses = [task_loss(loss, *batch, reduction="sum").to(torch.float64) for batch in batches]
    share = accuracy_of(scores, y) if loss == "cross-entropy" else None
    return finite_or_none(float(sum(losses)) / len(y)), share


def task_loss(
    name: LossName, outputs: Tensor, targets: Tensor, *, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """The loss of a batch: of scores (B, K) and classes (B,); where it is ``squared``, of numbers (B, 1) and (B,).

    Examples:
        >>> task_loss("squared", torch.tensor([[3.0], [1.0]]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """
    if name == "squared":
        return F.mse_loss(outputs.squeeze(1), targets, reduction=reduction)
    return F.cross_entropy(outputs, targets, reduction=reduction)


def loss_of(
    name: LossName, outputs: Callable[[], int | None]
) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The mean loss of a batch, of the outputs that take part when it is asked; None: the usual one, of all outputs."""
    if name == "cross-entropy" and outputs() is None:
        return None
    return lambda scores, targets: task_loss(name, scores[:, : outputs()], targets)


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Scores of the classes in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(images) for images in x.split(_TEST_BATCH)])


def accuracy_of(outputs: Tensor, labels: Tensor) -> float:
    """Share of right predictions; one from an output that is not finite is wrong."""
    return int(right_answers(outputs, labels).sum()) / len(labels)


def right_answers(outputs: Tensor, labels: Tensor) -> Tensor:
    """Which predictions are right."""
    return (outputs.argmax(1) == labels) & outputs.isfinite().all(1)


def majority_share(labels: Tensor) -> float:
    """Share of the most common class."""
    return int(labels.bincount().max()) / len(labels)


def finite(model: nn.Module) -> bool:
    """Whether all weights of a network are finite numbers."""
    with torch.no_grad():
        # The smallest and the largest of a tensor are NaN where any number is; asked after every epoch of small
        # networks, this takes a quarter of the time of a look at each number.
        ends = [
            end
            for parameter in model.parameters()
            if parameter.numel()
            for end in torch.aminmax(parameter)
        ]
        return not ends or bool(torch.stack(ends).isfinite().all())


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean of what was measured; None where one of them is none."""
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def finite_or_none(value: float) -> float | None:
    """The number, or None for NaN and infinities, which the store cannot hold."""
    return value if math.isfinite(value) else None
