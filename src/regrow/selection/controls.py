"""Selections that take the choice out of another one, for controls: nobody, or the best in the place of the worst."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Mask, Scores
from regrow.selection.base import Selection, SelectionState
from regrow.selection.masks import lowest_among


@dataclass(frozen=True, kw_only=True)
class _Changed(Selection):
    """Asks another selection, and changes what it says.

    Args:
        select: Which.
    """

    select: Selection

    @property
    def quota(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] # read alone
        """As the selection."""
        return self.select.quota

    @property
    def remembers(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the selection."""
        return self.select.remembers

    @property
    def graded(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the selection."""
        return self.select.graded

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """As the selection."""
        return self.select.idle(scores)

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse what the selection refuses."""
        self.select.check(counts)

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Ask it, without what it remembers."""
        _, masks = self.chosen({}, scores, eligible=eligible, step=step)
        return {layer: torch.zeros_like(may) for layer, may in eligible.items()} | masks

    def chosen(
        self,
        state: SelectionState,
        scores: Mapping[str, Scores],
        *,
        eligible: Mapping[str, Mask],
        step: int,
    ) -> tuple[SelectionState, dict[str, Mask]]:
        """What the selection remembers from here on, and what is taken instead of its choice."""
        state, masks = self.select.chosen(state, scores, eligible=eligible, step=step)
        return state, self._instead(masks, scores, eligible)

    @abstractmethod
    def _instead(
        self,
        masks: Mapping[str, Mask],
        scores: Mapping[str, Scores],
        eligible: Mapping[str, Mask],
    ) -> dict[str, Mask]:
        """What is taken instead of the selection's masks."""


@final
@dataclass(frozen=True, kw_only=True)
class Nobody(_Changed):
    """Ask a selection as ever, and mark nobody: its recipe with the mechanism on, and the rate 0."""

    def _instead(
        self,
        masks: Mapping[str, Mask],
        scores: Mapping[str, Scores],
        eligible: Mapping[str, Mask],
    ) -> dict[str, Mask]:
        del masks, scores, eligible
        return {}


@final
@dataclass(frozen=True, kw_only=True)
class Inverted(_Changed):
    """As many as another selection takes of each layer, at the same steps: those with the highest scores.

    Of a graded one the strengths change places: the best of a layer gets the worst one's, and so on.

    Edge cases:
        Scores that are not numbers are never taken. Of equal scores the first are, so that the best of a layer in which
        all score alike are those that would be taken anyway.
    """

    def _instead(
        self,
        masks: Mapping[str, Mask],
        scores: Mapping[str, Scores],
        eligible: Mapping[str, Mask],
    ) -> dict[str, Mask]:
        if self.graded:
            strengths = self.strengths(scores)
            return {layer: eligible[layer] & (strengths[layer] > 0) for layer in masks}
        found: dict[str, Mask] = {}
        for layer, mask in masks.items():
            may = eligible[layer].to(mask.device) & scores[layer].isfinite()
            found[layer] = lowest_among(-scores[layer], may=may, count=mask.sum(-1))
        return found

    def strengths(self, scores: Mapping[str, Scores]) -> dict[str, Scores]:
        """The selection's strengths, those of the worst for the best."""
        found: dict[str, Scores] = {}
        for layer, own in self.select.strengths(scores).items():
            # What is no number comes last, and keeps its place.
            order = scores[layer].where(scores[layer].isfinite(), math.inf).argsort(stable=True)
            some = order[: int(scores[layer].isfinite().sum())]
            found[layer] = own.index_copy(0, some, own[some.flip(0)])
        return found
