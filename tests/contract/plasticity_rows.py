"""One row for every recipe that keeps a network plastic: what its tests need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

import regrow
from recipes.small import kill


def _as_it_is(model: nn.Sequential) -> None:
    """Nothing has to be done for it to take many."""
    del model


def _all_silent(model: nn.Sequential) -> None:
    """Nobody of the first layer fires."""
    kill(model[1], *range(8))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A recipe of the family.

    Attributes:
        make: Makes it.
        eager: Settings with which it renews a dead unit within eight steps, and at first no other.
        off: Settings with which it never renews.
        greedy: Settings with which it would take whole layers, each unit at most once in `gap` steps; None: it takes
            nobody whole, but moves all a share of the way.
        gap: The same.
        before_each_step: What makes it want all units of a layer.
        many: Settings with which it renews 200 dead units of 400 at once.
        constant: Settings with which it takes a unit that gives one value, and moves its mean; None: it moves none.
        steady: Settings with which it has a rate: units of a layer and step; None: it has none.
        every_step: Its default, but for an interval of one step (of a hundred, where it moves all).
    """

    make: Callable[..., regrow.Recipe]
    eager: Mapping[str, Any]
    off: Mapping[str, Any]
    greedy: Mapping[str, Any] | None = None
    gap: int = 0
    before_each_step: Callable[[nn.Sequential], None] = _as_it_is
    many: Mapping[str, Any] = field(default_factory=dict)
    constant: Mapping[str, Any] | None = None
    steady: float | None = None
    every_step: Mapping[str, Any] = field(default_factory=dict)


ROWS: dict[str, Row] = {
    "redo": Row(
        make=regrow.ReDo,
        eager={"threshold": 0.0, "every_steps": 3},
        off={"threshold": -1.0, "every_steps": 2},
        greedy={"threshold": 1e9, "every_steps": 1, "grace_steps": 4},
        gap=4,
        many={"threshold": 0.0, "every_steps": 3},
        every_step={"every_steps": 1},
    ),
    "regrama": Row(
        make=regrow.ReGraMa,
        eager={"threshold": 0.0, "every_steps": 3},
        off={"threshold": -1.0, "every_steps": 2},
        greedy={"threshold": 1e9, "every_steps": 1, "grace_steps": 4},
        gap=4,
        many={"threshold": 0.0, "every_steps": 3},
        every_step={"every_steps": 1},
    ),
    "continual-backprop": Row(
        make=regrow.ContinualBackprop,
        eager={"rate": 0.13, "maturity": 2},
        off={"rate": 0.0, "maturity": 0},
        greedy={"rate": 1.0, "maturity": 4},
        gap=4,
        many={"rate": 0.5, "maturity": 2},
        constant={"utility": "zero_contribution", "rate": 0.13, "maturity": 2},
        steady=0.05,
    ),
    "partial-reset": Row(
        make=regrow.PartialReset,
        # So steep that who learns nothing is moved all of the way, and everybody else nothing.
        eager={"rate": 1.0, "sharpness": 1e6, "threshold": 1e-4, "every_steps": 3},
        off={"rate": 0.0, "every_steps": 2},
        many={"rate": 1.0, "sharpness": 1e6, "threshold": 1e-4, "every_steps": 3},
        every_step={"every_steps": 100},
    ),
    "self-normalized-resets": Row(
        make=regrow.SelfNormalizedResets,
        eager={"min_silence": 3, "max_silence": 3},
        off={"rejection": 0.0, "max_silence": 10**9},
        greedy={"min_silence": 5, "max_silence": 5},
        gap=4,
        before_each_step=_all_silent,
        many={"min_silence": 3, "max_silence": 3},
    ),
}
