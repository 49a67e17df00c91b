"""A share of all filters of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from regrow._checks import check_fraction
from regrow._plural import count
from regrow._shapes import Mask, Scores
from regrow.errors import ConfigError
from regrow.selection.base import Selection
from regrow.selection.masks import lowest_of_all, share_of


@final
@dataclass(frozen=True, kw_only=True)
class WorstFraction(Selection):
    """A share of all filters of the network: those with the lowest scores, ranked together, without quotas.

    Args:
        fraction: Share of all filters, within [0, 1]; rounded down.
        most_of_layer: The largest share that may be taken of one layer, within [0, 1]; rounded down. A layer always
            keeps one filter.

    Raises:
        ConfigError: A share outside [0, 1].

    Source:
        Prakash et al., "RePr", CVPR 2019, Section 4: scores within a layer, ranking over the network.
    """

    fraction: float
    most_of_layer: float = 1.0

    quota = True

    def __post_init__(self) -> None:
        check_fraction(self.fraction, name="fraction", where="selection")
        check_fraction(self.most_of_layer, name="most_of_layer", where="selection")

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Mark the share."""
        del step
        layers = list(scores)
        masks = lowest_of_all(
            [scores[layer] for layer in layers],
            count=share_of(self.fraction, sum(len(scores[layer]) for layer in layers)),
            eligible=[eligible[layer] for layer in layers],
            most=[share_of(self.most_of_layer, len(scores[layer])) for layer in layers],
        )
        return dict(zip(layers, masks, strict=True))

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse a network of which nothing could be taken."""
        total = sum(counts.values())
        if share_of(self.fraction, total) < 1:
            raise ConfigError(
                f"fraction={self.fraction} of {count(total, 'filter')} is less than one: give a larger share"
            )
        if all(
            min(share_of(self.most_of_layer, count), count - 1) < 1 for count in counts.values()
        ):
            raise ConfigError(
                f"no layer has a filter to give: the largest has {max(counts.values())}, most_of_layer="
                f"{self.most_of_layer} of it may go, and one must stay"
            )
