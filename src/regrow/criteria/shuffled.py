"""Shuffled: another criterion's scores, dealt out at random within each layer, for a control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from regrow._shapes import Scores
from regrow.criteria.base import Criterion, CriterionState, Observation, Signal
from regrow.draw.keys import Key, uniform_rows


@final
@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """What a criterion says of a layer's filters, each time dealt out at random among them.

    What is remembered, and what is known of means, is the criterion's own: nothing differs but who has which score.

    Args:
        criterion: Whose scores.

    Edge cases:
        The order depends on seed, step and layer alone.
    """

    criterion: Criterion

    @property
    def needs(self) -> frozenset[Signal]:
        """What the criterion looks at."""
        return self.criterion.needs

    @property
    def every_step(self) -> bool:
        """As the criterion."""
        return self.criterion.every_step

    def __getattr__(self, name: str) -> Any:
        """What only some criteria have (`renewed`, `means_of`) it has if that one has it."""
        # Not there yet, in a copy that is being made.
        if name == "criterion" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.criterion, name)

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Let the criterion look."""
        return self.criterion.observe(state, observation)

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """The criterion's scores in another order."""
        state, scores = self.criterion.score(state, layer=layer, count=count, step=step, seed=seed)
        if scores is None:
            return state, None
        key = Key(seed=seed, step=step, layer=layer, purpose="shuffled scores")
        drawn = uniform_rows(key, filters=torch.arange(count, device="cpu"), count=1)[:, 0]
        return state, scores[drawn.argsort().to(scores.device)]
