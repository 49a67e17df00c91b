"""Settings of recipes that came after the first results: what results from before them were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LATER: Final[Mapping[str, Mapping[str, object]]] = {
    "randomout": {"confirm": "gradient", "look_every": 100}
}


def distinguishing(recipe: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings that tell an arm from others: what results are filed under.

    A setting that came later is left out where it says what was so before, so that a results folder of that time goes
    on.

    Args:
        recipe: Name of the recipe.
        settings: All its settings.

    Returns:
        Those that count.

    Examples:
        >>> distinguishing("randomout", {"threshold": 1e-8, "confirm": "gradient", "look_every": 100})
        {'threshold': 1e-08}
    """
    later = LATER.get(recipe, {})
    return {
        key: value for key, value in settings.items() if not (key in later and value == later[key])
    }


def with_before(recipe: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings of stored results, which do not have those that came later.

    Args:
        recipe: Name of the recipe.
        settings: As they were stored.

    Returns:
        The same, and what was so before.

    Examples:
        >>> with_before("randomout", {"threshold": 1e-8})
        {'confirm': 'gradient', 'look_every': 100, 'threshold': 1e-08}
    """
    return {**LATER.get(recipe, {}), **settings}
