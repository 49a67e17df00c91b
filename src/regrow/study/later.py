"""Settings that came after the first results: what results from before them were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LATER: Final[Mapping[str, Mapping[str, object]]] = {
    "randomout": {"confirm": "gradient", "look_every": 100},
    "random": {
        "step_limit": 0.0,
        "check_gain": False,
        "dense": False,
        "draw": None,
        "transfer": False,
    },
    "keepalive": {"draw": "he", "optimizer_state": "exact"},
}
"""Of recipes."""

BEFORE: Final[Mapping[tuple[str, object], tuple[str, object]]] = {
    ("optimizer_state", "exact"): ("reset_optimizer", True),
    ("optimizer_state", "kept"): ("reset_optimizer", False),
}
"""Settings of recipes that had another name once: as now, and as then."""

TRAINING_LATER: Final[Mapping[str, object]] = {
    "stair_steps": None,
    "stair_factor": 0.5,
    "warm_up_steps": 0,
    "anneal_epochs": 0,
    "eval_last_epochs": 1,
}
"""Of the training."""


def without(settings: Mapping[str, object], later: Mapping[str, object]) -> dict[str, object]:
    """The settings but those of later date that say what their absence says.

    Examples:
        >>> without({"lr": 0.1, "anneal_epochs": 0}, TRAINING_LATER)
        {'lr': 0.1}
    """
    return {
        key: value for key, value in settings.items() if not (key in later and value == later[key])
    }


def as_before(settings: Mapping[str, object]) -> dict[str, object]:
    """A recipe's settings by the names that they had when results were first filed under them.

    Examples:
        >>> as_before({"norm": "l1", "optimizer_state": "kept"})
        {'norm': 'l1', 'reset_optimizer': False}
        >>> as_before({"optimizer_state": "zeroed"})
        {'optimizer_state': 'zeroed'}
    """
    # A setting may be a list, which is no key.
    known = {name for name, _ in BEFORE}
    return dict(BEFORE.get(each, each) if each[0] in known else each for each in settings.items())


def distinguishing(recipe: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings that tell an arm from others: what results are filed under.

    A setting that came later is left out where it says what was so before, and one that had another name goes by that,
    so that a results folder of that time goes on.

    Examples:
        >>> distinguishing("randomout", {"threshold": 1e-8, "confirm": "gradient", "look_every": 100})
        {'threshold': 1e-08}
    """
    return as_before(without(settings, LATER.get(recipe, {})))
