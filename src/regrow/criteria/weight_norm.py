"""Weight norm: filters with small weights score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch

from regrow._checks import check_choice, check_flag
from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary


@final
@dataclass(frozen=True, kw_only=True)
class WeightNorm(Momentary):
    """The norm of a filter's weights, by default freed of their number, so that layers can be ranked together.

        l2:  score(f) = |w_f|_2 / sqrt(F)      without `normalise`:  |w_f|_2
        l1:  score(f) = |w_f|_1 / F            without `normalise`:  |w_f|_1 = sum over i of |w_i|

    Args:
        norm: ``l2`` or ``l1``.
        normalise: Divide by what a filter of F ones would score.

    Raises:
        ConfigError: Another norm, or a `normalise` that is neither true nor false.

    Edge cases:
        A filter of zeros: 0. A weight that is not finite: its filter's score is not finite. Half precision is summed
        in float32.

    Source:
        l2, normalised: the ranking "Weights" of Prakash et al. 2019, Section 5; the paper does not say how layers are
        put on one scale. l1, not normalised: the measure of an invalid filter of Meng et al. 2020, Section 3.

    Examples:
        >>> seen = Observation(count=2, weight=torch.tensor([[3.0, -4.0], [0.0, 0.05]]))
        >>> WeightNorm(norm="l1", normalise=False).scores_of(seen)
        tensor([7.0000, 0.0500])
        >>> WeightNorm(normalise=False).scores_of(seen)
        tensor([5.0000, 0.0500])
    """

    norm: Literal["l2", "l1"] = "l2"
    normalise: bool = True

    def __post_init__(self) -> None:
        check_choice(self.norm, ("l2", "l1"), name="norm", where="weight norm")
        check_flag(self.normalise, name="normalise", where="weight norm")

    needs = frozenset({Signal.WEIGHTS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """Norms of the weights as they are."""
        weight = observation.weight
        if weight is None:
            return None
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        if self.norm == "l1":
            lengths = wide.abs().sum(-1)
            return lengths / wide.shape[-1] if self.normalise else lengths
        lengths = torch.linalg.vector_norm(wide, dim=-1)
        return lengths / wide.shape[-1] ** 0.5 if self.normalise else lengths
