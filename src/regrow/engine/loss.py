"""Losses of several networks at once, and their gradients by what the networks give: classes, or a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, final

import torch
from torch import Tensor

from regrow.engine.answers import Answers, Step, judged
from regrow.errors import ShapeError

Reduction: TypeAlias = Literal["mean", "sum"]
LossName: TypeAlias = Literal["cross-entropy", "squared"]


NO_PART: Final = -1e30
"""The score of an output that takes no part: below all others, and finite, while its exponential is 0."""


@final
class CrossEntropy:
    """Loss and right answers of each network, from logits (N, K, B); the gradient on the way.

        loss = -sum or mean over b of log p[label_b],   dloss/dlogits = p - (1 at the label), divided by B for the mean

    For a small network these few numbers cost as much as a layer, all of it calls: there are as few as possible, and
    the constants are made once.
    """

    def __init__(self, logits: Tensor, grad: Tensor) -> None:
        networks, _, samples = logits.shape
        self._logits, self._grad = logits, grad
        self._shape = (networks, samples)
        self._one_less = logits.new_full((), -1.0).expand(networks, 1, samples)
        self._samples = logits.new_full((), samples)
        self._lowest = logits.new_full((), -torch.inf)
        self._scales = {
            "mean": logits.new_full((), -1.0 / samples),
            "sum": logits.new_full((), -1.0),
        }

    def __call__(self, labels: Tensor, *, reduction: Reduction) -> tuple[Tensor, Tensor]:
        """Loss (N,) and right answers (N,) by labels (N, B) or (B,); where logits are not all finite, none is right."""
        labels = labels.expand(self._shape)
        return judged(
            self._logits,
            self.slope(labels, reduction=reduction),
            labels,
            scale=self._scales[reduction],
            lowest=self._lowest,
        )

    def slope(self, labels: Tensor, *, reduction: Reduction) -> Tensor:
        """Fill the gradient; the logarithms of the classes' shares, (N, K, B), a new tensor."""
        grad = self._grad
        log_shares = torch.log_softmax(self._logits, 1)
        torch.exp(log_shares, out=grad)
        grad.scatter_add_(1, labels.unsqueeze(1), self._one_less)
        if reduction == "mean":
            grad.div_(self._samples)
        return log_shares

    def note(self, labels: Tensor, *, reduction: Reduction, answers: Answers) -> None:
        """Fill the gradient, and let what the networks have answered be judged later."""
        labels = labels.expand(self._shape)
        shares = self.slope(labels, reduction=reduction)
        weight = self._shape[1] if reduction == "mean" else 1
        answers.add(
            Step(
                logits=self._logits.clone(),
                log_shares=shares,
                labels=labels,
                scale=self._scales[reduction],
                weight=weight,
            )
        )


@final
class SquaredError:
    """Squared error of each network's number, (N, 1, B); the gradient on the way.

    loss = sum or mean over b of (y_b - t_b)^2,   dloss/dy = 2 (y - t), divided by B for the mean
    """

    def __init__(self, outputs: Tensor, grad: Tensor) -> None:
        networks, numbers, samples = outputs.shape
        if numbers != 1:
            raise ShapeError(
                f"with a squared loss a network must give one number, (B, 1), got (B, {numbers}) (Stack)"
            )
        self._outputs, self._grad, self._samples = outputs, grad, samples
        self._scales = {"mean": 1.0 / samples, "sum": 1.0}
        # No number is a right answer or a wrong one.
        self._right = torch.zeros(networks, dtype=torch.int64, device=outputs.device)

    def __call__(self, labels: Tensor, *, reduction: Reduction) -> tuple[Tensor, Tensor]:
        """Loss (N,), and zeros (N,) int64: nothing is counted as right."""
        grad, scale = self._grad, self._scales[reduction]
        torch.sub(self._outputs, labels.unsqueeze(-2), out=grad)
        losses = grad.square().sum((1, 2)).mul_(scale)
        grad.mul_(2.0 * scale)
        return losses, self._right.clone()

    def note(self, labels: Tensor, *, reduction: Reduction, answers: Answers) -> None:
        """Fill the gradient; the loss is at hand."""
        losses, right = self(labels, reduction=reduction)
        answers.count(losses, right, weight=self._samples if reduction == "mean" else 1)


Loss: TypeAlias = CrossEntropy | SquaredError
"""A loss with its memory for one size of batch."""

LOSSES: Final[Mapping[LossName, type[Loss]]] = {
    "cross-entropy": CrossEntropy,
    "squared": SquaredError,
}
"""By name."""
