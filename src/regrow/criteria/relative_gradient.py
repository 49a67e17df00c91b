"""Relative gradient: ReGraMa's criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import FilterRows, Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.gradient_size import gradient_norm
from regrow.criteria.momentary import Momentary
from regrow.criteria.relative_activity import relative_activity


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
        >>> import torch
        >>> relative_gradient(torch.tensor([[1.0, -1.0], [0.0, 0.0], [3.0, 1.0]]))
        tensor([1., 0., 2.])
    """
    return relative_activity(gradient_norm(grad))


@final
@dataclass(frozen=True, kw_only=True)
class RelativeGradient(Momentary):
    """`regrow.functional.relative_gradient` in the step at which a score is due.

    Edge cases:
        A layer without a gradient in that step has no score.
    """

    needs = frozenset({Signal.GRADIENTS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The sizes by their mean."""
        return None if observation.grad is None else relative_gradient(observation.grad)
