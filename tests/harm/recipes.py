"""The recipes that every situation is run with, and how late each can see and act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import regrow
from regrow.compose import Recipe
from regrow.history import Renewed

Rule = Literal["death", "gradient", "own"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recipe of the table.

    Attributes:
        make: The recipe; the random control is given the events that it replays.
        rule: ``death``: it must renew the dead and nobody else. ``gradient``: as published, for comparison. ``own``:
            it has another rule, and is only counted.
        see: Steps that may pass until a check of it can show a gradient of 0: one that looks every n steps misses up
            to n - 1, and a sum over n steps has older ones in it at the first check.
        act: Steps that may pass from the end of a window to its next check.
    """

    make: Callable[[Sequence[Renewed]], Recipe]
    rule: Rule
    see: int = 0
    act: int = 0


def _randomout(events: Sequence[Renewed], **settings: Any) -> Recipe:
    del events
    return regrow.RandomOut(active_fraction=1.0, **settings)


def _keep_alive(events: Sequence[Renewed]) -> Recipe:
    """Also where units write to a residual stream, as RandomOut does: what is watched is the situation's to say."""
    del events
    return regrow.KeepAlive(active_fraction=1.0).with_parts(hidden_alone=False)


def _dying(*, see: int = 0, act: int = 0, **settings: Any) -> Case:
    return Case(make=partial(_randomout, **settings), rule="death", see=see, act=act)


CONTROL: Final = "random"
DEFAULT: Final = "RandomOut()"
RECIPES: Final[dict[str, Case]] = {
    DEFAULT: _dying(),
    "RandomOut(readers='zero')": _dying(readers="zero"),
    "RandomOut(readers='redraw')": _dying(readers="redraw"),
    "RandomOut(preserve=True)": _dying(preserve=True),
    "RandomOut(every_steps=5)": _dying(every_steps=5, see=4, act=4),
    "RandomOut(source='accumulated', every_steps=5)": _dying(
        source="accumulated", every_steps=5, see=9, act=4
    ),
    "RandomOut(confirm='gradient')": Case(
        make=partial(_randomout, confirm="gradient"), rule="gradient"
    ),
    "KeepAlive()": Case(make=_keep_alive, rule="death"),
    "RePr(s1=10, s2=5, cycles=2)": Case(
        make=lambda events: regrow.RePr(s1=10, s2=5, cycles=2, unit="steps"), rule="own"
    ),
    "NoiseScion()": Case(make=lambda events: regrow.NoiseScion(), rule="own"),
    "InternalScion()": Case(make=lambda events: regrow.InternalScion(), rule="own"),
    CONTROL: Case(make=lambda events: regrow.RandomControl(like=events), rule="own"),
}
"""By name, as a user would write them; the random control replays the default's renewals."""
SLOWEST: Final = max(case.see + case.act for case in RECIPES.values())
