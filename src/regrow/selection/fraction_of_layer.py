"""A share of each layer that shrinks along a cosine: the schedule of ReDo's released code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from regrow._checks import check_fraction, check_whole
from regrow._shapes import Mask, Scores
from regrow.selection.base import Selection
from regrow.selection.masks import lowest_among, share_of


@final
@dataclass(frozen=True, kw_only=True)
class FractionOfLayer(Selection):
    """The units of each layer with the lowest scores: a share that is fixed, or falls to 0 along a cosine.

        count = floor(fraction * cos(pi/2 * step / end_step) * (units of the layer)),  at least 1 before `end_step`

    Args:
        fraction: Share of each layer at step 0, within [0, 1]; rounded down, but for one unit. 0: nobody ever.
        end_step: The step from which on nobody is taken; at least 1. None: the share stays what it is.

    Raises:
        ConfigError: A share outside [0, 1], or a step that is none.

    Edge cases:
        A layer always keeps one unit. Scores that are not numbers are never taken.

    Source:
        The scheduled variant in the released code of Sokar et al., ICML 2023 (google/dopamine, ``weight_recyclers.py``;
        fraction 0.3, at least one unit).

    Examples:
        >>> import torch
        >>> scores, all_ = {"a": torch.arange(10.0)}, {"a": torch.ones(10, dtype=torch.bool)}
        >>> select = FractionOfLayer(fraction=0.3, end_step=100)
        >>> [int(select(scores, eligible=all_, step=step)["a"].sum()) for step in (0, 50, 90, 100)]
        [3, 2, 1, 0]
    """

    fraction: float
    end_step: int | None = None

    quota = True

    def __post_init__(self) -> None:
        check_fraction(self.fraction, name="fraction", where="selection")
        if self.end_step is not None:
            check_whole(self.end_step, name="end_step", where="selection", least=1)

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark the share."""
        share = self._share(step)
        masks: dict[str, Mask] = {}
        for layer, values in scores.items():
            may = eligible[layer].to(values.device) & values.isfinite()
            count = values.shape[-1]
            wanted = max(share_of(share, count), 1) if share > 0 else 0
            masks[layer] = lowest_among(values, may=may, count=min(wanted, count - 1))
        return masks

    def _share(self, step: int) -> float:
        if self.end_step is None:
            return self.fraction
        if step >= self.end_step:
            return 0.0
        return self.fraction * math.cos(math.pi / 2 * step / self.end_step)
