"""Stagnation: units whose weights have moved next to nothing since the last look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import FilterRows, Mask, Scores
from regrow.criteria._anew import anew
from regrow.criteria.base import CriterionState, Observation, Signal


def relative_step(weight: FilterRows, *, before: FilterRows) -> Scores:
    """The length of each unit's way between two looks, by the length of its weights.

        score[o] = |w_o - w'_o| / max(|w_o|, |w'_o|),    w' = before,  |.| Euclidean

    A unit whose steps are next to nothing beside its weights has stopped to learn, whatever its gradient is beside
    those of others: under Adam a small gradient can make large steps, and large weights make large gradients small.

    Args:
        weight: The weights, one row a unit, (*S, O, F). Read, never written.
        before: The same weights at an earlier step.

    Returns:
        (*S, O), within [0, 2], in float32 or wider; 0 = it has not moved.

    Edge cases:
        A unit whose weights are 0 both times has not moved: 0. nan where a weight is.

    Source:
        Stagnant units, "gradient update negligible relative to weights": arXiv 2606.25335, abstract. The formula is
        ours.

    Examples:
        >>> relative_step(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), before=torch.tensor([[3.0, 3.5], [1.0, 0.0]]))
        tensor([0.1000, 0.0000])
    """
    kind = torch.promote_types(weight.dtype, torch.float32)
    now, then = weight.to(kind), before.to(kind)
    way = torch.linalg.vector_norm(now - then, dim=-1)
    size = torch.maximum(
        torch.linalg.vector_norm(now, dim=-1), torch.linalg.vector_norm(then, dim=-1)
    )
    return way / torch.where(size == 0, 1.0, size)


@final
@dataclass(frozen=True, kw_only=True)
class Stagnation:
    """`regrow.functional.relative_step` since the last look.

    Nothing is looked at between two looks, so that the way is that of all steps in between: with
    ``schedule.Every(steps=1000)`` and ``selection.UpTo(threshold=0.01)`` units are renewed that have moved by less than
    a hundredth of their length in a thousand steps.

    Edge cases:
        At the first look of a unit's life, also after a renewal, nothing is known of its way: it scores 1. A copy of
        the weights is kept from look to look. Weight decay moves a unit too: behind a gradient of 0 it comes as far
        as 1 - (1 - lr * decay)^steps.
    """

    needs = frozenset({Signal.WEIGHTS})

    every_step = False

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Compare the weights with those of the last look."""
        weight = observation.weight
        if weight is None:
            return {}
        before = state["weight"] if state else torch.full_like(weight, torch.nan)
        way = relative_step(weight, before=before)
        first = before.isnan().any(-1)
        return {"weight": weight.clone(), "scores": torch.where(first, 1.0, way)}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """What was observed last."""
        del layer, count, step, seed
        return state, state.get("scores")

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: of their way nothing is known."""
        return anew(state, mask, {"weight": torch.nan, "scores": 1.0})
