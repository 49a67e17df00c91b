"""Settings that came after the first results: what results from before them were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LATER: Final[Mapping[str, Mapping[str, object]]] = {
    "randomout": {"confirm": "gradient", "look_every": 100},
    "random": {"step_limit": 0.0, "check_gain": False, "dense": False, "draw": None},
    "keepalive": {"draw": "he"},
}
"""Of recipes."""

TRAINING_LATER: Final[Mapping[str, object]] = {
    "stair_steps": None,
    "stair_factor": 0.5,
    "warm_up_steps": 0,
    "anneal_epochs": 0,
    "eval_last_epochs": 1,
}
"""Of the training."""


def without(settings: Mapping[str, object], later: Mapping[str, object]) -> dict[str, object]:
    """The settings that tell something from what it was before some of them were there.

    Args:
        later: Those that came later, and what says the same as their absence.

    Examples:
        >>> without({"lr": 0.1, "anneal_epochs": 0}, TRAINING_LATER)
        {'lr': 0.1}
    """
    return {
        key: value for key, value in settings.items() if not (key in later and value == later[key])
    }


def distinguishing(recipe: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings that tell an arm from others: what results are filed under.

    A setting that came later is left out where it says what was so before, so that a results folder of that time goes
    on.

    Examples:
        >>> distinguishing("randomout", {"threshold": 1e-8, "confirm": "gradient", "look_every": 100})
        {'threshold': 1e-08}
    """
    return without(settings, LATER.get(recipe, {}))
