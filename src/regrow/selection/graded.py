"""All units, each as far as it is due: the selection of partial resets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from regrow._checks import check_choice, check_finite, check_fraction, check_not_negative
from regrow._shapes import Mask, Scores
from regrow.functional.strength import Transform, renewal_strength
from regrow.selection.base import Selection


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

    Source:
        "Calibrated partial resets", arXiv 2607.24996, as released.

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
        """Check the settings."""
        check_fraction(self.rate, name="rate", where="selection")
        check_not_negative(self.sharpness, name="sharpness", where="selection")
        check_finite(self.sharpness, name="sharpness", where="selection")
        check_finite(self.threshold, name="threshold", where="selection")
        known = ("sigmoid", "exp", "softplus", "linear")
        check_choice(self.transform, known, name="transform", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark who is due anything.

        Args:
            scores: By layer, (*S, O).
            eligible: By layer, (*S, O).
            step: Not used.

        Returns:
            Masks by layer.
        """
        del step
        return {layer: eligible[layer] & (due > 0) for layer, due in self.strengths(scores).items()}

    def strengths(self, scores: Mapping[str, Scores]) -> dict[str, Scores]:
        """How far each unit is moved.

        Args:
            scores: By layer, (*S, O).

        Returns:
            By layer, (*S, O), within [0, `rate`].
        """
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
