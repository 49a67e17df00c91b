"""What is remembered of units that were renewed."""

from __future__ import annotations

from collections.abc import Mapping

from regrow._shapes import Mask
from regrow.criteria.base import CriterionState


def anew(state: CriterionState, mask: Mask, start: Mapping[str, float]) -> CriterionState:
    """The state in which marked units begin anew, with one number each in all entries of what `start` names."""
    return {
        key: each.masked_fill(mask.reshape(*mask.shape, *[1] * (each.ndim - mask.ndim)), start[key])
        if key in start
        else each
        for key, each in state.items()
    }
