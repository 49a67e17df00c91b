"""A steady rate of each layer's units, the lowest scores first: Continual Backprop's selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from regrow._checks import check_fraction
from regrow._shapes import Mask, Scores
from regrow.selection.base import Selection, SelectionState
from regrow.selection.masks import lowest_among


@final
@dataclass(frozen=True, kw_only=True)
class RateOfLayer(Selection):
    """So many of a layer's eligible units at each step, the lowest first; what is less than a unit is saved up.

        saved <- saved + rate * (number of eligible units),    k = floor(saved),    saved <- saved - k

    Nothing is saved while nobody is eligible, and what could not be taken is not owed: so that units which come of age
    together are not renewed together.

    Args:
        rate: Share of the eligible units that is renewed at each step, within [0, 1]. 0: nobody ever.

    Raises:
        ConfigError: A rate outside [0, 1].

    Edge cases:
        A layer always keeps one unit. Called without what it remembers, it takes what one step gives.

    Source:
        Dohare et al., Nature 632, 2024, Methods: the number of units to replace is accumulated. The released code has
        this as ``accumulate=True``.

    Examples:
        >>> scores, all_ = {"a": torch.arange(4.0)}, {"a": torch.ones(4, dtype=torch.bool)}
        >>> select, saved = RateOfLayer(rate=0.1), {}
        >>> for step in range(4):
        ...     saved, masks = select.chosen(saved, scores, eligible=all_, step=step)
        ...     print(round(float(saved["a"]), 2), masks)
        0.4 {}
        0.8 {}
        0.2 {'a': tensor([ True, False, False, False])}
        0.6 {}
    """

    rate: float

    quota = True
    remembers = True

    def __post_init__(self) -> None:
        check_fraction(self.rate, name="rate", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """What one step gives, also of layers that nobody is taken from."""
        _, masks = self.chosen({}, scores, eligible=eligible, step=step)
        nobody = {layer: torch.zeros_like(mask) for layer, mask in eligible.items()}
        return {**nobody, **masks}

    def chosen(
        self,
        state: SelectionState,
        scores: Mapping[str, Scores],
        *,
        eligible: Mapping[str, Mask],
        step: int,
    ) -> tuple[SelectionState, dict[str, Mask]]:
        """Save up, and mark."""
        del step
        if not scores or self.rate == 0:
            return state, {}
        first = next(iter(scores.values())).device
        may = {
            layer: eligible[layer].to(each.device) & each.isfinite()
            for layer, each in scores.items()
        }
        many: list[int] = torch.stack([each.sum().to(first) for each in may.values()]).tolist()
        saved: dict[str, Tensor] = dict(state)
        masks: dict[str, Mask] = {}
        for (layer, values), count in zip(scores.items(), many, strict=True):
            if not count:
                continue
            whole, saved[layer] = self._due(saved.get(layer), count)
            taken = min(whole, count, values.shape[-1] - 1)
            if taken > 0:
                masks[layer] = lowest_among(values, may=may[layer], count=taken)
        return saved, masks

    def waits(self, state: SelectionState, counts: Mapping[str, int]) -> SelectionState | None:
        """What is saved up, where that is all that a step does; None where a whole unit is due."""
        if self.rate == 0:
            return state
        saved = dict(state)
        for layer, count in counts.items():
            if count:
                whole, saved[layer] = self._due(saved.get(layer), count)
                if whole:
                    return None
        return saved

    def _due(self, saved: Tensor | None, count: int) -> tuple[int, Tensor]:
        """How many are due with this step, and what is left over."""
        sum_ = (0.0 if saved is None else float(saved)) + self.rate * count
        whole = math.floor(sum_ + 1e-9)  # a tenth ten times is less than 1
        return whole, torch.tensor(sum_ - whole, dtype=torch.float64, device="cpu")
