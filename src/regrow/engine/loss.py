"""Cross-entropy of several networks at once, and its gradient by the logits."""

from __future__ import annotations

from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

Reduction: TypeAlias = Literal["mean", "sum"]


@final
class CrossEntropy:
    """Loss and right answers of each network; the gradient on the way.

        loss = -sum or mean over b of log p[label_b],   dloss/dlogits = p - (1 at the label), divided by B for the mean

    For a small network these few numbers cost as much as a layer, all of it calls: there are as few as possible, and
    the constants are made once.

    Args:
        logits: (N, K, B), read at each call.
        grad: Where the gradient goes, (N, K, B).

    Examples:
        >>> logits, grad = torch.zeros(1, 2, 1), torch.empty(1, 2, 1)
        >>> CrossEntropy(logits, grad)(torch.tensor([[1]]), reduction="mean")
        (tensor([0.6931]), tensor([0]))
        >>> grad.flatten()
        tensor([ 0.5000, -0.5000])
    """

    def __init__(self, logits: Tensor, grad: Tensor) -> None:
        networks, _, samples = logits.shape
        self._logits, self._grad = logits, grad
        self._labels = torch.zeros(networks, 1, samples, dtype=torch.int64, device=logits.device)
        self._one_less = logits.new_full((), -1.0).expand(self._labels.shape)
        self._samples = logits.new_full((), samples)
        self._scales = {
            "mean": logits.new_full((), -1.0 / samples),
            "sum": logits.new_full((), -1.0),
        }
        self._lowest = logits.new_full((), -torch.inf)

    def __call__(self, labels: Tensor, *, reduction: Reduction) -> tuple[Tensor, Tensor]:
        """Read the logits, fill the gradient.

        Returns:
            Loss (N,), and how many predictions are right, (N,) int64. A prediction from logits that are not all finite
            is wrong.
        """
        logits, grad, at = self._logits, self._grad, self._labels
        own = at[:, 0]
        own.copy_(labels)
        log_shares = torch.log_softmax(logits, 1)
        losses = log_shares.gather(1, at).sum((1, 2)).mul_(self._scales[reduction])
        torch.exp(log_shares, out=grad)
        grad.scatter_add_(1, at, self._one_less)
        if reduction == "mean":
            grad.div_(self._samples)
        # The first of equal ones, as argmax has it, which takes twice as long. The log shares of a sample are all
        # finite if its logits are; NaN is not above anything.
        right = (logits.max(1).indices == own) & (log_shares.amin(1) > self._lowest)
        return losses, right.sum(1)
