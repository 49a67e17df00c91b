"""The parts of a recipe that renews no filter: a guard, or a change of the whole network, is all that it does."""

from __future__ import annotations

from regrow.compose import EVERY_KIND, Parts
from regrow.schedule import AtSteps


def no_filters() -> Parts:
    """Nobody is looked at, at no time."""
    from regrow.criteria import RandomScore
    from regrow.renewal import Redraw
    from regrow.selection import CountsOf

    return Parts(
        criterion=RandomScore(),
        select=CountsOf(counts={}),
        renew=Redraw(),
        when=AtSteps.of(()),
        layers=EVERY_KIND,
    )
