"""One row for every recipe that changes a whole network: what the contract suite needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contract.rows import Wrong
from regrow.compose import Recipe
from regrow.errors import RegrowError
from regrow.recipes import FIRE, L2Init, ShrinkPerturb


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """A recipe of the family.

    Attributes:
        make: Makes it.
        acts: Settings with which it changes the network, at boundaries where it knows them.
        idle: Settings with which it never changes a bit.
        defaults: Settings whose defaults have a source.
        wrong: Settings that must be refused.
        drawn: Random numbers of the attached seed come into it.
        at_boundaries: It acts where a boundary is told; False: after every step.
        whole: It changes every parameter that is trained; False: layers' weights alone.
    """

    make: Callable[..., Recipe]
    acts: Mapping[str, Any]
    idle: Mapping[str, Any] | None
    defaults: Mapping[str, Any]
    wrong: tuple[Wrong, ...]
    drawn: bool = False
    at_boundaries: bool = True
    whole: bool = True


_STATE = Wrong(
    settings={"optimizer_state": "lost"}, match="'exact', 'zeroed' or 'kept', got 'lost'"
)
_EVERY = Wrong(
    settings={"every_steps": 0}, match="every_steps must be a whole number of at least 1, got 0"
)

NETWORK: dict[str, NetworkRow] = {
    "shrink-perturb": NetworkRow(
        make=ShrinkPerturb,
        acts={"shrink": 0.5, "noise": 0.2},
        idle={"shrink": 1.0, "noise": 0.0, "optimizer_state": "kept"},
        # The released code's command line.
        defaults={"shrink": 0.4, "noise": 0.1, "target": "fresh", "every_steps": None},
        wrong=(
            Wrong(settings={"shrink": -0.1}, match="shrink must be at least 0, got -0.1"),
            Wrong(settings={"noise": -1.0}, match="noise must be at least 0, got -1"),
            Wrong(settings={"target": "luck"}, match="'fresh' or 'initial', got 'luck'"),
            Wrong(settings={"shrnk": 0.1}, match="did you mean 'shrink'", error=RegrowError),
            _STATE,
            _EVERY,
        ),
        drawn=True,
    ),
    "l2-init": NetworkRow(
        make=L2Init,
        acts={"strength": 0.5},
        idle={"strength": 0.0},
        # Kumar et al. 2023, Tables 3 and 4: best nearly everywhere.
        defaults={"strength": 0.01, "norms": True},
        wrong=(
            Wrong(settings={"strength": -0.1}, match="strength must be at least 0, got -0.1"),
            Wrong(settings={"norms": 1}, match="norms must be like True, got 1"),
            Wrong(settings={"strengths": 0.1}, match="did you mean 'strength'", error=RegrowError),
        ),
        at_boundaries=False,
    ),
    "fire": NetworkRow(
        make=FIRE,
        acts={},
        idle=None,
        defaults={"iterations": 10, "every_steps": None},
        wrong=(
            Wrong(
                settings={"iterations": 0}, match="iterations must be a whole number of at least"
            ),
            Wrong(settings={"iteration": 3}, match="did you mean 'iterations'", error=RegrowError),
            _STATE,
            _EVERY,
        ),
        whole=False,
    ),
}

VARIANTS: dict[str, NetworkRow] = NETWORK | {
    "shrink-perturb, initial": replace(
        NETWORK["shrink-perturb"],
        acts={"shrink": 0.5, "noise": 0.5, "target": "initial"},
        drawn=False,
    ),
}
"""Every recipe, and the one that others call shrink and perturb."""
