"""All filters under one threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from regrow._checks import check_not_negative
from regrow._shapes import Mask, Scores
from regrow.selection.base import Selection
from regrow.selection.masks import spare_best


def below(scores: Scores, *, threshold: float, inclusive: bool = False) -> Mask:
    """Filters whose score is under an absolute threshold.

    Args:
        scores: (*S, O). Read, never written.
        threshold: In the unit of the scores.
        inclusive: Take ``<=`` for ``<``.

    Returns:
        Mask, (*S, O): True where ``score < threshold`` and the score is a number.

    Edge cases:
        NaN and infinities of either sign are never selected. A threshold of 0 selects nothing.

    Examples:
        >>> below(torch.tensor([0.0, 1e-9, 1.0, float("nan")]), threshold=1e-8)
        tensor([ True,  True, False, False])
    """
    low = scores <= threshold if inclusive else scores < threshold
    return low & scores.isfinite()


@final
@dataclass(frozen=True, kw_only=True)
class Below(Selection):
    """All filters whose score is under one absolute threshold, the same for every layer.

    Args:
        threshold: In the unit of the scores, at least 0.
        keep_one: Never mark all filters of a layer at once; the best of them stays.
        inclusive: Mark scores that are equal to the threshold too.

    Raises:
        ConfigError: A negative threshold.

    Source:
        Cohen, Lo, Ding 2016, Section 2: each filter is tested on its own, without ranking or quota.
    """

    threshold: float
    keep_one: bool = False
    inclusive: bool = False

    def __post_init__(self) -> None:
        check_not_negative(self.threshold, name="threshold", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark what is below."""
        del step
        masks = self._under(scores)
        if self.keep_one:
            masks = {layer: spare_best(mask, scores[layer]) for layer, mask in masks.items()}
        return {layer: mask & eligible[layer] for layer, mask in masks.items()}

    def _under(self, scores: Mapping[str, Scores]) -> dict[str, Mask]:
        """All layers in one comparison, where they can be laid side by side as they are."""
        kinds = {(each.dtype, each.device, each.shape[:-1]) for each in scores.values()}
        if len(kinds) != 1:
            return {layer: self._low(each) for layer, each in scores.items()}
        masks = self._low(torch.cat(list(scores.values()), -1))
        widths = [each.shape[-1] for each in scores.values()]
        return dict(zip(scores, masks.split(widths, -1), strict=True))

    def _low(self, scores: Scores) -> Mask:
        return below(scores, threshold=self.threshold, inclusive=self.inclusive)

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """Whether all scores are numbers of at least the threshold, as in nearly every step.

        Asked on the CPU alone, where the answer costs no wait. It is exact: the comparison with a threshold rounds that
        to the scores' type, which does not put it above a score that was not under it.
        """
        values = list(scores.values())
        if self.inclusive or not values or not all(each.is_cpu for each in values):
            return False
        least, most = torch.cat([each.flatten() for each in values]).aminmax()  # nan if one is
        return least.item() >= self.threshold and most.item() < math.inf
