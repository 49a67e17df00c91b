"""The losses that are trained on, by the name that a stream gives them (`regrow.study.stream.LossName`).

Called by `lab/engines/modules.py` for each step, by `lab/measure.py` for tests, and handed to recipes that measure on
data. Stacks have their own arithmetic for the same names (`regrow.engine.loss`).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from regrow.study.stream import LossName


def task_loss(
    name: LossName, outputs: Tensor, targets: Tensor, *, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """The loss of a batch.

    Args:
        outputs: Scores of the classes (B, K); or numbers (B, 1) for ``squared``.
        targets: Classes, int64 (B,); or numbers (B,).
        reduction: Over the examples.

    Examples:
        >>> import torch
        >>> task_loss("squared", torch.tensor([[3.0], [1.0]]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """
    if name == "squared":
        return F.mse_loss(outputs.squeeze(1), targets, reduction=reduction)
    return F.cross_entropy(outputs, targets, reduction=reduction)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """`task_loss` of numbers, as recipes that measure on data take it."""
    return task_loss("squared", outputs, targets)
