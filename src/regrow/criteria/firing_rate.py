"""Firing rate: on what share of examples and positions units give anything above 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from regrow._checks import check_decay
from regrow._shapes import Scores
from regrow.criteria._life_average import LifeAverage
from regrow.criteria.base import LayerActivity, Observation, Signal


@final
@dataclass(frozen=True, kw_only=True)
class FiringRate(LifeAverage):
    """The share of values above 0 that a unit gives, on the average of the steps since it was renewed.

        r <- decay * r + (1 - decay) * share of the step,    score = r / (1 - decay^age)

    With ``selection.UpTo(threshold=0.01)`` units are renewed that fire on less than one in a hundred examples.

    Args:
        decay: Of the averages, within [0, 1). 0: the last step alone.

    Raises:
        ConfigError: A decay outside [0, 1).

    Edge cases:
        A step in which a unit is not seen counts for nothing, and one that was never seen scores as the best of its
        layer. Behind activations that are negative without being silent (GELU, tanh) a low share says little; behind a
        norm a dead ReLU gives a constant, and its share is 0 or 1. A share does not depend on the batch's size.

    Source:
        Dohare et al., Nature 632, 2024: a unit that is not 0 on less than 1 % of examples is called dormant there. The
        average is ours.
    """

    key: ClassVar[str] = "rate"

    decay: float = 0.99

    needs = frozenset({Signal.MEANS})

    def __post_init__(self) -> None:
        check_decay(self.decay, where="firing rate")

    def of_step(self, observation: Observation, activity: LayerActivity) -> Scores | None:
        """The shares of the step."""
        del observation
        return activity.positive
