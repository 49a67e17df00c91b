"""Since firing: how long units have been silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._checks import check_flag
from regrow._shapes import Mask, Scores
from regrow.criteria._firing import anew, begun, counted, fires, longer
from regrow.criteria.base import CriterionState, Observation, Signal


@final
@dataclass(frozen=True, kw_only=True)
class SinceFiring:
    """Minus the number of steps since a unit last gave a value above 0: 0 for one that fires, -100 after 100 steps.

    With ``selection.UpTo(threshold=-100)`` units are renewed that were silent for a hundred steps.

    Args:
        as_published: A value above 0 is all that counts; see `OwnSilence`.

    Raises:
        ConfigError: An `as_published` that is neither true nor false.

    Edge cases:
        A step in which a unit is not seen counts for nothing, and so does one in which it is starved or blocked. A unit
        that has never fired counts from the first step, a renewed one from its renewal.

    Source:
        The age of a unit in Farias, Jozefiak, ICLR 2025, arXiv 2410.20098; dead latents of sparse autoencoders are told
        by it too.
    """

    as_published: bool = False

    every_step = True

    def __post_init__(self) -> None:
        """Check the settings."""
        check_flag(self.as_published, name="as_published", where="since firing")

    @property
    def needs(self) -> frozenset[Signal]:
        """What units give; who is silent, starved or blocked only where that is asked."""
        return frozenset({Signal.MEANS if self.as_published else Signal.ACTIVITY})

    def observe(self, state: CriterionState, observation: Observation) -> CriterionState:
        """Count silences on."""
        activity = observation.activity
        fire = None if activity is None else fires(activity, as_published=self.as_published)
        if activity is None or fire is None:
            return state
        counts = counted(activity, as_published=self.as_published)
        was = state["silence"] if state else begun(fire)
        return {"silence": longer(was, counts=counts, fire=fire)}

    def score(
        self, state: CriterionState, *, layer: str, count: int, step: int, seed: int
    ) -> tuple[CriterionState, Scores | None]:
        """Minus the silences."""
        del layer, count, step, seed
        return state, 0.0 - state["silence"].double() if state else None

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: they have not been silent yet."""
        return anew(state, mask, {"silence": 0})
