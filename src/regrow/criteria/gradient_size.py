"""The size of the gradient that reaches a filter: RandomOut's criterion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

import torch

from regrow._checks import check_choice
from regrow._shapes import Scores
from regrow.criteria.base import CriterionState, Observation, Signal
from regrow.functional.gradient import GradientNorm, gradient_norm


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
        """Check the settings."""
        check_choice(self.norm, get_args(GradientNorm), name="norm", where="gradient size")
        check_choice(self.source, ("last", "accumulated"), name="source", where="gradient size")

    needs = frozenset({Signal.GRADIENTS})

    @property
    def every_step(self) -> bool:
        """Only a sum needs every step."""
        return self.source == "accumulated"

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Remember this step's gradient, or add it to the sum.

        Args:
            state: What is remembered so far. Not changed.
            observation: One step's gradient, (*S, O, F).

        Returns:
            ``scores`` (last) or ``sum`` (accumulated).
        """
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
        """Norms of what was observed; the sum starts anew.

        Args:
            state: What is remembered. Not changed.
            layer: Not used.
            count: Not used.
            step: Not used.
            seed: Not used.

        Returns:
            An empty state, and the scores (*S, O) or None where no gradient came.
        """
        del layer, count, step, seed
        if "sum" in state:
            return {}, gradient_norm(state["sum"], norm=self.norm)
        return {}, state.get("scores")
