"""As many filters as another run renewed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from regrow._plural import count as counted
from regrow._shapes import Mask, Scores
from regrow.errors import ConfigError
from regrow.selection.base import Selection
from regrow.selection.masks import lowest


@final
@dataclass(frozen=True, kw_only=True)
class CountsOf(Selection):
    """As many filters as another run renewed, in the same layer at the same step, the lowest scores first.

    Args:
        counts: Number of filters by (step, layer).
    """

    counts: Mapping[tuple[int, str], int]

    quota = True

    def __call__(
        self, scores: Mapping[str, Scores], *, eligible: Mapping[str, Mask], step: int
    ) -> dict[str, Mask]:
        """Whoever is eligible: the other run's counts are met whatever happened to the filters before."""
        del eligible
        return {
            layer: lowest(values, count=self.counts.get((step, layer), 0))
            for layer, values in scores.items()
        }

    def check(self, counts: Mapping[str, int]) -> None:
        """Refuse a model in which the other run's counts cannot be met."""
        for (step, layer), count in self.counts.items():
            if layer not in counts:
                raise ConfigError(
                    f"the run to copy renewed filters of '{layer}', which is not watched here; "
                    f"watched: {', '.join(counts)}"
                )
            if count > counts[layer]:
                raise ConfigError(
                    f"the run to copy renewed {counted(count, 'filter')} of '{layer}' at step {step}, "
                    f"which has {counts[layer]} here"
                )
