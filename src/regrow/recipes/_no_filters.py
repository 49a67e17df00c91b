"""The parts of a recipe that renews no filter: a guard, or a change of the whole network, is all that it does."""

from __future__ import annotations

from regrow.compose import EVERY_KIND, Parts
from regrow.schedule import AtBoundary, AtSteps, Every, Schedule


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


def at_boundaries(*, every_steps: int | None) -> Schedule:
    """Where the user says that the task changes; or every so many steps."""
    return AtBoundary() if every_steps is None else Every(steps=every_steps, prefix="every_")
