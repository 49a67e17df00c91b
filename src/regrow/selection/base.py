"""Selection: what every one of them offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from regrow._shapes import Mask, Scores

SelectionState = Mapping[str, Tensor]
"""What a selection remembers between two steps, by layer: tensors of one element, which are saved with the rest."""


@runtime_checkable
class Selection(Protocol):
    """Scores to masks. Inherit from it: then only the call is to be written.

    Attributes:
        quota: Whether it was asked for how many are taken, so that many at once are no surprise.
        remembers: Whether what it takes depends on what it took before: then it is asked by `chosen`.
        graded: Whether it says of marked filters how far they are moved towards fresh ones, by `strengths`.
    """

    quota: bool = False
    remembers: bool = False
    graded: bool = False

    @abstractmethod
    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Masks by layer, (*S, O), of scores and of who may be taken, at an optimizer step."""

    def chosen(
        self,
        state: SelectionState,
        scores: Mapping[str, Scores],
        *,
        eligible: Mapping[str, Mask],
        step: int,
    ) -> tuple[SelectionState, dict[str, Mask]]:
        """What it remembers from here on, and masks; layers without a marked filter may be left out. Pure."""
        return state, self(scores, eligible=eligible, step=step)

    def strengths(self, scores: Mapping[str, Scores]) -> dict[str, Scores]:
        """How far filters with these scores are moved, by layer, (*S, O) within [0, 1]; asked of a graded one alone."""
        return {layer: torch.ones_like(each) for layer, each in scores.items()}

    def waits(self, state: SelectionState, counts: Mapping[str, int]) -> SelectionState | None:
        """What it remembers behind a step in which it takes nobody, whatever so many scores are; None: they count."""
        del state, counts
        return None

    def idle(self, scores: Mapping[str, Scores]) -> bool:
        """Whether it is sure, without a wait for the device, that nobody is marked by these scores."""
        del scores
        return False

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse, before training starts, layers (with their number of filters) that cannot be selected from."""
        del counts
