"""Relative activity: ReDo's criterion, read in the training's own passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary


def relative_activity(size: Scores) -> Scores:
    """How much each unit gives, measured by the mean of its layer.

        score[o] = size[o] / mean over o' of size[o'],    size[o] = mean over examples and positions of |h_o|

    Args:
        size: Mean of the absolute values of what each unit gives, (*S, O). Read, never written.

    Returns:
        (*S, O), in float32 or wider. Its mean over a layer is 1.

    Edge cases:
        nan says that nothing is known of a unit: its score is nan, and the mean is taken over the others. In a layer
        whose mean is 0 nobody gives anything, and nobody is less than the rest: all score 1. Where the mean is not
        finite no score is a number.

    Source:
        Sokar, Agarwal, Castro, Evci, "The Dormant Neuron Phenomenon in Deep Reinforcement Learning", ICML 2023,
        Equation 1. The released code adds 1e-9 to the mean.

    Examples:
        >>> relative_activity(torch.tensor([0.0, 1.0, 3.0]))
        tensor([0.0000, 0.7500, 2.2500])
        >>> relative_activity(torch.zeros(2))
        tensor([1., 1.])
    """
    wide = size.to(torch.promote_types(size.dtype, torch.float32))
    mean = wide.nanmean(-1, keepdim=True)
    shares = torch.where(mean.isfinite(), wide / mean, torch.nan)  # a share of infinity would be 0
    return torch.where((mean == 0) & ~wide.isnan(), 1.0, shares)


@final
@dataclass(frozen=True, kw_only=True)
class RelativeActivity(Momentary):
    """`regrow.functional.relative_activity` of what a unit gives its readers in the passes of the step.

    It is read behind norm, activation and pooling, where the unit is alone
    for the last time, and before any dropout; of larger batches over some 16 to 31 examples, evenly spaced.

    Args:
        as_published: Nothing but the size counts. By default a unit that gave one value throughout the step gives 0,
            since behind a norm the silence of a dead ReLU is a constant of any size; and starved and blocked units
            score 1, since they hear nothing but constants, or a factor of exactly 0 stands in front of their readers,
            so that their silence is not their own.

    Edge cases:
        A unit that gave nothing in this step's passes (its branch was not run) scores 1. A layer of which no pass was
        seen has no score.
    """

    as_published: bool = False

    needs = frozenset({Signal.ACTIVITY})

    def scores_of(self, observation: Observation) -> Scores | None:
        """The sizes by their mean."""
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
