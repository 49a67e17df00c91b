"""Since firing: how long units have been silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._checks import check_flag
from regrow._shapes import Mask, Scores
from regrow.criteria._anew import anew
from regrow.criteria._firing import SilenceCriterion, begun, longer
from regrow.criteria.base import CriterionState


@final
@dataclass(frozen=True, kw_only=True)
class SinceFiring(SilenceCriterion):
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

    def __post_init__(self) -> None:
        check_flag(self.as_published, name="as_published", where="since firing")

    def counted(self, state: CriterionState, *, fire: Mask, counts: Mask) -> CriterionState:
        """``silence`` by unit."""
        was = state["silence"] if state else begun(fire)
        return {"silence": longer(was, counts=counts, fire=fire)}

    def scores_of(self, state: CriterionState) -> Scores:
        """Minus the silences."""
        return 0.0 - state["silence"].double()

    def renewed(self, state: CriterionState, mask: Mask) -> CriterionState:
        """Units were renewed: they have not been silent yet."""
        return anew(state, mask, {"silence": 0})
