"""Stagnation: units whose weights have moved next to nothing since the last look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Mask, Scores
from regrow.criteria.base import CriterionState, Observation, Signal
from regrow.functional.stagnation import relative_step


@final
@dataclass(frozen=True, kw_only=True)
class Stagnation:
    """How far a unit's weights have come since the last look, by their length: see `regrow.functional.relative_step`.

    Nothing is looked at between two looks, so that the way is that of all steps in between: with
    ``schedule.Every(steps=1000)`` and ``selection.UpTo(threshold=0.01)`` units are renewed that have moved by less than
    a hundredth of their length in a thousand steps.

    Edge cases:
        At the first look of a unit's life, also after a renewal, nothing is known of its way: it scores 1. A copy of
        the weights is kept from look to look. Weight decay moves a unit too: behind a gradient of 0 it comes as far
        as 1 - (1 - lr * decay)^steps.

    Source:
        arXiv 2606.25335, abstract ("stagnant" units); the formula is ours.

    Examples:
        >>> criterion, state = Stagnation(), {}
        >>> for weight in ([[3.0, 4.0], [1.0, 0.0]], [[3.0, 3.5], [1.0, 0.0]]):
        ...     state = criterion.observe(state, Observation(count=2, weight=torch.tensor(weight)))
        >>> criterion.score(state, layer="fc1", count=2, step=1, seed=0)[1]
        tensor([0.1000, 0.0000])
    """

    needs = frozenset({Signal.WEIGHTS})

    every_step = False

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Compare the weights with those of the last look.

        Args:
            state: What is remembered so far. Not changed.
            observation: With `weight`.

        Returns:
            ``weight``, (O, F), and the ``scores``; nothing without weights.
        """
        weight = observation.weight
        if weight is None:
            return {}
        before = state.get("weight")
        if before is None:
            before = torch.full_like(weight, torch.nan)
        way = relative_step(weight, before=before)
        first = before.isnan().any(-1)
        return {"weight": weight.clone(), "scores": torch.where(first, 1.0, way)}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """What was observed last.

        Args:
            state: From `observe`. Not changed.
            layer: Not used.
            count: Not used.
            step: Not used.
            seed: Not used.

        Returns:
            The same state, and the scores, (*S, O), or None.
        """
        del layer, count, step, seed
        return state, state.get("scores")

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: of their way nothing is known.

        Args:
            state: What is remembered. Not changed.
            mask: (O,).

        Returns:
            What is remembered from here on.
        """
        if not state:
            return state
        return {
            "weight": torch.where(mask[..., None], torch.nan, state["weight"]),
            "scores": torch.where(mask, 1.0, state["scores"]),
        }
