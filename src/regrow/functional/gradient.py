"""Scores from the gradient that reaches a filter."""

from __future__ import annotations

from typing import Literal

import torch

from regrow._shapes import FilterRows, Scores
from regrow.errors import ConfigError
from regrow.functional.activity import relative_activity

GradientNorm = Literal["l1", "signed", "l2"]


def gradient_norm(grad: FilterRows, *, norm: GradientNorm = "l1") -> Scores:
    """Size of the gradient of the loss with respect to each filter's weights.

    A filter that no gradient reaches cannot learn: a ReLU filter which is silent on every image of
    the batch scores exactly 0.

        l1:      score[o] = sum over i of |dL/dw_i of filter o|       (the author's code)
        signed:  score[o] = |sum over i of dL/dw_i of filter o|       (as printed in the paper)
        l2:      score[o] = sqrt(sum over i of (dL/dw_i)^2)

    Args:
        grad: Gradient of the loss, one row a filter, (*S, O, F). Read, never written.
        norm: Which of the three. With ``signed`` the terms of a living filter can cancel.

    Returns:
        Scores, (*S, O), at least 0, in float32 or wider; higher = worth keeping. They scale with the
        loss: a summed loss gives B times the score of a mean loss over a batch of B.

    Raises:
        ConfigError: `norm` is none of the three.

    Edge cases:
        NaN or infinity in a filter's gradient: its score is not finite, the other filters' are not
        touched by it. Half precision is summed in float32: its own numbers end at 65504, and a
        threshold of 1e-8 is 0 there.

    Source:
        Cohen, Lo, Ding, "RandomOut: Using a convolutional gradient norm to win The Filter Lottery",
        2016, Section 2 (``signed``). The author's released code takes the absolute values first (``l1``).

    Examples:
        >>> import torch
        >>> grad = torch.tensor([[3.0, -3.0], [0.0, 4.0]])
        >>> gradient_norm(grad)
        tensor([6., 4.])
        >>> gradient_norm(grad, norm="signed")
        tensor([0., 4.])
    """
    wide = grad.to(torch.promote_types(grad.dtype, torch.float32))
    if norm == "l1":
        return wide.abs().sum(-1)
    if norm == "signed":
        return wide.sum(-1).abs()
    if norm == "l2":
        return wide.square().sum(-1).sqrt()
    raise ConfigError(f"norm must be 'l1', 'signed' or 'l2', got {norm!r} (gradient_norm)")


def relative_gradient(grad: FilterRows) -> Scores:
    """How large the gradient of each unit's weights is, measured by the mean of its layer.

        score[o] = size[o] / mean over o' of size[o'],    size[o] = sum over i of |dL/dw_i of unit o|

    A ReLU unit that is silent on the whole batch scores exactly 0. The derivative by what a unit gives does not see
    it: its readers go on asking for more or less of a unit that cannot answer.

    Args:
        grad: Gradient of the loss, one row a unit, (*S, O, F). Read, never written.

    Returns:
        (*S, O), in float32 or wider. Its mean over a layer is 1, so that it does not depend on the loss's scale.

    Edge cases:
        In a layer that no gradient reaches (a satisfied loss, a head that begins at 0) all score 1. Where a gradient is
        infinite no score of its layer is a number; nan stays the unit's own.

    Source:
        Liu et al., "GraMa" (NeurIPS 2025), arXiv 2505.24061, as the released code has it: its mean over a unit's
        weights is this sum by a constant, and its 1e-9 in the denominator is left out.

    Examples:
        >>> relative_gradient(torch.tensor([[1.0, -1.0], [0.0, 0.0], [3.0, 1.0]]))
        tensor([1., 0., 2.])
    """
    return relative_activity(gradient_norm(grad))
