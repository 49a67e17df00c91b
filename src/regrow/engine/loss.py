"""Cross-entropy of several networks at once, and its gradient by the logits."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Reduction: TypeAlias = Literal["mean", "sum"]


def cross_entropy(
    logits: Tensor, labels: Tensor, *, reduction: Reduction, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Loss and right answers of each network; the gradient on the way.

        loss = -sum or mean over b of log p[label_b],   dloss/dlogits = p - (1 at the label), divided by B for the mean

    Args:
        logits: (N, K, B).
        labels: (N, B), int64.
        reduction: ``mean`` or ``sum`` over the samples.
        grad: Where the gradient goes, (N, K, B).

    Returns:
        Loss (N,), and how many predictions are right, (N,) int64. A prediction from logits that are not all finite is
        wrong.

    Examples:
        >>> grad = torch.empty(1, 2, 1)
        >>> cross_entropy(torch.zeros(1, 2, 1), torch.tensor([[1]]), reduction="mean", grad=grad)
        (tensor([0.6931]), tensor([0]))
        >>> grad.flatten()
        tensor([ 0.5000, -0.5000])
    """
    scale = 1.0 / logits.shape[2] if reduction == "mean" else 1.0
    at = labels[:, None]
    log_shares = torch.log_softmax(logits, 1)
    losses = torch.stack([each.sum() for each in log_shares.gather(1, at)]) * -scale
    torch.exp(log_shares, out=grad)
    grad.scatter_add_(1, at, grad.new_full((), -1.0).expand(at.shape))
    if scale != 1.0:
        grad.mul_(scale)
    right = (logits.argmax(1) == labels) & logits.isfinite().all(1)
    return losses, right.sum(1)
