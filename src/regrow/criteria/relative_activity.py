"""Relative activity: ReDo's criterion, read in the training's own passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.functional.activity import relative_activity


@final
@dataclass(frozen=True, kw_only=True)
class RelativeActivity(Momentary):
    """What a unit gives its readers in the passes of the step, measured by the mean of its layer.

    See `regrow.functional.relative_activity`. It is read behind norm, activation and pooling, where the unit is alone
    for the last time, and before any dropout; of larger batches over some 16 to 31 examples, evenly spaced.

    Args:
        as_published: Nothing but the size counts. By default a unit that gave one value throughout the step gives 0,
            since behind a norm the silence of a dead ReLU is a constant of any size; and starved and blocked units
            score 1, since they hear nothing but constants, or a factor of exactly 0 stands in front of their readers,
            so that their silence is not their own.

    Edge cases:
        A unit that gave nothing in this step's passes (its branch was not run) scores 1. A layer of which no pass was
        seen has no score.

    Source:
        Sokar et al., ICML 2023, Equation 1.
    """

    as_published: bool = False

    needs = frozenset({Signal.ACTIVITY})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The sizes by their mean.

        Args:
            observation: With `activity`.

        Returns:
            (*S, O); None where no pass was seen.
        """
        activity = observation.activity
        if activity is None or activity.size is None:
            return None
        # What was summed may have missed the few values of a unit that was not silent.
        least = torch.finfo(activity.size.dtype).tiny
        size = activity.size.where(activity.silent, activity.size.clamp(min=least))
        judged = activity.seen
        if not self.as_published:
            size = size.where(~activity.silent, 0.0)
            judged = judged & ~activity.starved & ~activity.blocked
        scores = relative_activity(size.where(activity.seen, torch.nan))
        return scores.where(judged, 1.0)
