"""Units whose score is at most a threshold, and no more than a share of a layer: ReDo's and ReGraMa's selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from regrow._checks import check_finite, check_fraction
from regrow._shapes import Mask, Scores
from regrow.selection.base import Selection
from regrow.selection.below import below
from regrow.selection.masks import lowest_among, share_of


@final
@dataclass(frozen=True, kw_only=True)
class UpTo(Selection):
    """All units whose score is at most a threshold, and of each layer no more than a share, the lowest first.

    A threshold that is reached counts, so that 0 marks who scores exactly 0. A layer always keeps one unit.

    Args:
        threshold: In the unit of the scores. Below all of them (a negative one where scores are sizes): nobody is ever
            marked.
        most_of_layer: The largest share of a layer that may be taken at once, within [0, 1]; rounded down.

    Raises:
        ConfigError: A threshold that is no finite number, or a share outside [0, 1].

    Source:
        Sokar et al., "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", ICML 2023, Section 4: a score of
        at most tau. The cap is ours.

    Examples:
        >>> import torch
        >>> scores, all_ = {"a": torch.tensor([0.1, 0.0, 2.0])}, {"a": torch.ones(3, dtype=torch.bool)}
        >>> UpTo(threshold=0.1)(scores, eligible=all_, step=0)
        {'a': tensor([ True,  True, False])}
        >>> UpTo(threshold=0.1, most_of_layer=0.4)(scores, eligible=all_, step=0)
        {'a': tensor([False,  True, False])}
    """

    threshold: float
    most_of_layer: float = 1.0

    def __post_init__(self) -> None:
        check_finite(self.threshold, name="threshold", where="selection")
        check_fraction(self.most_of_layer, name="most_of_layer", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark what is low."""
        del step
        masks: dict[str, Mask] = {}
        for layer, values in scores.items():
            may = eligible[layer] & below(values, threshold=self.threshold, inclusive=True)
            count = values.shape[-1]
            most = min(share_of(self.most_of_layer, count), count - 1)
            masks[layer] = lowest_among(values, may=may, count=most)
        return masks

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """Whether all scores are numbers above the threshold, as in nearly every step of a recipe that looks at each.

        Asked on the CPU alone, where the answer costs no wait; compared in the scores' own type, as `below` does.
        """
        values = list(scores.values())
        if not all(each.is_cpu for each in values) or len({each.dtype for each in values}) != 1:
            return False
        least, most = torch.cat([each.flatten() for each in values]).aminmax()  # nan if one is
        return bool(least > self.threshold) and most.item() < math.inf
