"""The size of the gradient that reaches a filter: RandomOut's criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch

from regrow._checks import check_choice
from regrow._shapes import FilterRows, Scores
from regrow.criteria.base import CriterionState, Observation, Signal
from regrow.errors import ConfigError

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


@final
@dataclass(frozen=True, kw_only=True)
class GradientSize:
    """Norm of each filter's gradient, of the step at which the score is due or summed since the last score.

    Args:
        norm: ``l1``, ``signed`` or ``l2``; see `regrow.functional.gradient_norm`.
        source: ``last``: the gradient of the step at which the score is due, as the author's code reads it.
            ``accumulated``: the norm of the sum of all gradients since the last score, which a
            filter that is silent on one batch alone survives.

    Raises:
        ConfigError: A setting that is not one of those.

    Edge cases:
        A layer without a gradient in the scored step (unused in the forward pass) gets no score.
        Accumulated gradients are kept in float32 or wider.
    """

    norm: GradientNorm = "l1"
    source: Literal["last", "accumulated"] = "last"

    def __post_init__(self) -> None:
        check_choice(self.norm, get_args(GradientNorm), name="norm", where="gradient size")
        check_choice(self.source, ("last", "accumulated"), name="source", where="gradient size")

    needs = frozenset({Signal.GRADIENTS})

    @property
    def every_step(self) -> bool:
        """Only a sum needs every step."""
        return self.source == "accumulated"

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Take this step's norm as ``scores``, or add its gradient to the ``sum``."""
        grad = observation.grad
        if grad is None:
            return state if self.source == "accumulated" else {}
        if self.source == "last":
            # The score itself is remembered, not the gradient: O numbers instead of the layer's size.
            return {"scores": gradient_norm(grad, norm=self.norm)}
        wide = grad.to(torch.promote_types(grad.dtype, torch.float32))
        return {"sum": state["sum"] + wide if "sum" in state else wide.clone()}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """None where no gradient came; the sum starts anew."""
        del layer, count, step, seed
        if "sum" in state:
            return {}, gradient_norm(state["sum"], norm=self.norm)
        return {}, state.get("scores")
