"""All units, each as far as it is due: the selection of partial resets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch

from regrow._checks import check_choice, check_finite, check_fraction, check_not_negative
from regrow._shapes import Mask, Scores
from regrow.selection.base import Selection

Transform = Literal["sigmoid", "exp", "softplus", "linear"]


def renewal_strength(
    utility: Scores, *, transform: Transform, sharpness: float, threshold: float
) -> Scores:
    """The share of a renewal that each unit is due, falling with what it is worth.

    With x = sharpness * (utility - threshold):

        sigmoid:   min(2 / (1 + exp(x)), 1)
        exp:       min(exp(-x), 1)
        softplus:  min(log(1 + exp(-x)) / log 2, 1)
        linear:    1 - x, cut to [0, 1]

    All of them are 1 up to the threshold, and fall towards 0 behind it.

    Args:
        utility: (*S, O), higher = worth keeping. Read, never written.
        transform: Which of the four.
        sharpness: How quickly it falls, per unit of utility; at least 0.
        threshold: Up to which utility all of it is due.

    Returns:
        (*S, O) within [0, 1], in the type of `utility`.

    Edge cases:
        A utility that is not finite is due nothing. Another transform is a ConfigError.

    Source:
        "Calibrated partial resets", arXiv 2607.24996, as released (LucMc/continual-learning, ``cpr.py``).

    Examples:
        >>> renewal_strength(torch.tensor([0.5, 1.0, 2.0]), transform="linear", sharpness=0.5, threshold=1.0)
        tensor([1.0000, 1.0000, 0.5000])
    """
    check_choice(transform, get_args(Transform), name="transform", where="renewal_strength")
    x = sharpness * (utility - threshold)
    if transform == "sigmoid":
        due = 2.0 * torch.sigmoid(-x)
    elif transform == "exp":
        due = torch.exp(-x)
    elif transform == "softplus":
        due = torch.nn.functional.softplus(-x) / math.log(2.0)
    else:
        due = 1.0 - x
    return torch.where(utility.isfinite(), due.clamp(0.0, 1.0), 0.0)


@final
@dataclass(frozen=True, kw_only=True)
class Graded(Selection):
    """Mark whoever is due anything, and say how much: a strength a unit in place of a yes or no.

        strength = rate * transform(score)

    It takes a renewal that goes a part of the way, `regrow.renewal.Blend`.

    Args:
        rate: The largest strength, within [0, 1]; what units up to the threshold get. 0: nobody ever.
        transform: ``sigmoid``, ``exp``, ``softplus`` or ``linear``; see `regrow.functional.renewal_strength`.
        sharpness: How quickly it falls behind the threshold; at least 0. 0: all alike.
        threshold: In the unit of the scores.

    Raises:
        ConfigError: A setting outside its range.

    Edge cases:
        A layer keeps no unit of its own accord: where all scores are low, all are moved, each by no more than `rate`.

    Examples:
        >>> import torch
        >>> select = Graded(rate=0.1, transform="linear", sharpness=0.5)
        >>> scores = {"a": torch.tensor([0.5, 2.0, 9.0])}
        >>> select.strengths(scores)
        {'a': tensor([0.1000, 0.0500, 0.0000])}
        >>> select(scores, eligible={"a": torch.ones(3, dtype=torch.bool)}, step=0)
        {'a': tensor([ True,  True, False])}
    """

    rate: float
    transform: Transform = "sigmoid"
    sharpness: float = 16.0
    threshold: float = 1.0

    quota = True
    graded = True

    def __post_init__(self) -> None:
        check_fraction(self.rate, name="rate", where="selection")
        check_not_negative(self.sharpness, name="sharpness", where="selection")
        check_finite(self.sharpness, name="sharpness", where="selection")
        check_finite(self.threshold, name="threshold", where="selection")
        check_choice(self.transform, get_args(Transform), name="transform", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark who is due anything."""
        del step
        return {layer: eligible[layer] & (due > 0) for layer, due in self.strengths(scores).items()}

    def strengths(self, scores: Mapping[str, Scores]) -> dict[str, Scores]:
        """How far each unit is moved."""
        return {
            layer: self.rate
            * renewal_strength(
                each,
                transform=self.transform,
                sharpness=self.sharpness,
                threshold=self.threshold,
            )
            for layer, each in scores.items()
        }
