"""Silence limit: self-normalized resets as they were released, with limits that are set anew now and then.

The criterion of `recipes/self_normalized_resets`; `criteria/own_silence` is its sibling as it was published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from jaxtyping import Int
from torch import Tensor

from regrow._checks import check_fraction, check_whole
from regrow._shapes import Mask, Scores
from regrow.criteria._firing import SilenceCriterion, begun, check_silences, longer
from regrow.criteria.base import CriterionState
from regrow.errors import ConfigError

_MOST: Final = 100_000


def silence_limit(
    counts: Int[Tensor, "*S O B"],
    *,
    limit: Int[Tensor, "*S O"],
    percentile: float,
    growth: float,
    least: int,
    most: int,
) -> Int[Tensor, "*S O"]:
    """How long each unit may be silent from here on, after a period in which its silences were counted.

        q[o]     = the smallest length within which a share `percentile` of its silences ended
        limit[o] <- q[o]  if q[o] < limit[o],  else  growth * limit[o];   then within [least, most]

    A unit that is silent for longer is reset, so that nothing longer is ever seen: therefore the limit grows where
    silences fill it.

    Args:
        counts: Silences of the period by their length, (*S, O, B): 0 steps, 1 step, ... Read, never written.
        limit: The limits so far, in steps, (*S, O).
        percentile: Within (0, 1].
        growth: Above 1.
        least: The smallest limit, in steps.
        most: The largest.

    Returns:
        (*S, O), the type of `limit`.

    Edge cases:
        A unit without a silence that has ended keeps its limit.

    Source:
        As `silence_share` (Farias, Jozefiak, ICLR 2025); this is how the released code updates its thresholds.

    Examples:
        >>> counts = torch.tensor([[0, 8, 1, 1, 0], [0, 0, 0, 0, 5]])
        >>> silence_limit(counts, limit=torch.tensor([4, 4]), percentile=0.9, growth=2.0, least=1, most=20)
        tensor([2, 8])
    """
    total = counts.sum(-1, keepdim=True)
    # Shares would round: 0.9 of ten is nine.
    short = counts.cumsum(-1) < (percentile * total.double()).mul(1 - 1e-12)
    q = short.sum(-1)
    grown = (limit * growth).to(limit.dtype)
    found = torch.where(q < limit, q, grown).where(total.squeeze(-1) > 0, limit)
    return found.to(limit.dtype).clamp(least, most)


@final
@dataclass(frozen=True, kw_only=True)
class SilenceLimit(SilenceCriterion):
    """How much of the silence that a unit is allowed is left to it: 1 for who fires, 0 from its limit on.

        score(u) = max(0, 1 - silence(u) / limit(u))
        every `update_every` steps:  limit(u) by `regrow.functional.silence_limit`, of the silences since the last time

    Args:
        rejection: The part of a unit's own silences that may be longer than its limit, within [0, 1]: 1 minus the
            released code's percentile.
        update_every: Steps from one update of the limits to the next.
        growth: What a limit that was filled is multiplied by; above 1.
        min_silence: The smallest limit, in steps.
        max_silence: The largest, and the first; at most 100,000.

    Raises:
        ConfigError: A setting outside its range, or a `min_silence` above `max_silence`.

    Edge cases:
        A unit fires if it gives any value above 0; whether it can is not asked. What it was silent for when it is
        renewed is counted too, and its history goes on: so it is in the released code. Lengths are counted to the
        largest limit, (O, max_silence + 1) numbers a layer: `OwnSilence` needs less.
    """

    rejection: float = 0.01
    update_every: int = 10_000
    growth: float = 2.0
    min_silence: int = 7
    max_silence: int = 1250

    as_published = True

    def __post_init__(self) -> None:
        check_fraction(self.rejection, name="rejection", where="silence limit")
        check_whole(self.update_every, name="update_every", where="silence limit", least=1)
        check_silences(self.min_silence, self.max_silence, where="silence limit")
        if self.max_silence > _MOST:
            raise ConfigError(
                f"max_silence must be at most {_MOST:,} where silences are counted by their length, got "
                f"{self.max_silence} (silence limit)"
            )
        value = self.growth
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 1:  # pyright: ignore[reportUnnecessaryIsInstance] # users' words
            raise ConfigError(f"growth must be above 1, got {value!r} (silence limit)")

    def counted(self, state: CriterionState, *, fire: Mask, counts: Mask) -> CriterionState:
        """By unit ``silence``, ``limit`` and ``counts``, (O, max_silence + 1); and ``steps`` since the last update."""
        if not state:
            state = {
                "silence": begun(fire),
                "limit": begun(fire, value=self.max_silence),
                "counts": begun(fire, self.max_silence + 1),
                "steps": torch.zeros((), dtype=torch.int64, device="cpu"),
            }
        silence, lengths, steps = state["silence"], state["counts"], state["steps"] + 1
        after = {
            "silence": longer(silence, counts=counts, fire=fire),
            "limit": state["limit"],
            "counts": self._entered(lengths, silence, fire),
            "steps": steps,
        }
        if int(steps) < self.update_every:
            return after
        after["limit"] = silence_limit(
            after["counts"],
            limit=state["limit"],
            percentile=1.0 - self.rejection,
            growth=self.growth,
            least=self.min_silence,
            most=self.max_silence,
        )
        return {**after, "counts": torch.zeros_like(lengths), "steps": torch.zeros_like(steps)}

    def _entered(self, counts: Mask, silence: Mask, who: Mask) -> Mask:
        """One more silence of some units, by its length."""
        place = silence.clamp(max=self.max_silence).unsqueeze(-1).long()
        return counts.scatter_add(-1, place, who.unsqueeze(-1).to(counts.dtype))

    def scores_of(self, state: CriterionState) -> Scores:
        """What is left, within [0, 1]."""
        return (1.0 - state["silence"].double() / state["limit"].double()).clamp(min=0.0)

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: their silence has ended, and is counted."""
        if not state:
            return state
        silence = state["silence"]
        return {
            **state,
            "silence": silence.masked_fill(mask, 0),
            "counts": self._entered(state["counts"], silence, mask),
        }
