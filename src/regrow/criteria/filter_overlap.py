"""Inter-filter overlap: filters that others of their layer carry already score low."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch

from regrow._checks import check_choice
from regrow._shapes import Scores
from regrow.criteria.base import Observation, Signal
from regrow.criteria.momentary import Momentary
from regrow.errors import ConfigError
from regrow.functional.overlap import filter_overlap


@final
@dataclass(frozen=True, kw_only=True)
class FilterOverlap(Momentary):
    """Minus the overlap of a filter with the others of its layer, or of its group in a grouped layer.

    Args:
        normalise: ``row`` (cosines, as the paper's text means it) or ``matrix`` (the author's code).
        corrected: Take out what random filters of as many numbers would have; ours, only with ``row``.

    Raises:
        ConfigError: Another normalisation, or `corrected` with ``matrix``.

    Source:
        Prakash et al., "RePr", CVPR 2019, Section 4.
    """

    normalise: Literal["row", "matrix"] = "row"
    corrected: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        check_choice(self.normalise, ("row", "matrix"), name="normalise", where="filter overlap")
        if self.corrected and self.normalise == "matrix":
            raise ConfigError("corrected=True needs normalise='row' (filter overlap)")

    needs = frozenset({Signal.WEIGHTS})

    def scores_of(self, observation: Observation) -> Scores | None:
        """Overlaps of the weights as they are.

        Args:
            observation: With the weights.

        Returns:
            (*S, O); None without weights.
        """
        weight = observation.weight
        if weight is None:
            return None
        # In bfloat16 a cosine has two digits, and most filters of a layer would be equal.
        wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
        return -filter_overlap(
            wide, groups=observation.groups, normalise=self.normalise, corrected=self.corrected
        )
