"""Which arm is the control for another's choice of filters: the same arm, with a ranking at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from regrow.report.cell_arms import arms_in
from regrow.report.results import Study

_RANKING: Final = "rank_by"
_AT_RANDOM: Final = "random"
_OF_THE_CHOICE: Final = frozenset({_RANKING, "normalise", "corrected"})
"""Settings that say how filters are ranked, and nothing about what happens to them."""


def random_arms(study: Study, cell: str) -> tuple[str, ...]:
    """The arms that rank their filters at random.

    Args:
        study: What was asked for.
        cell: The cell, for a grid over the ranking.

    Returns:
        Labels in the study's order.
    """
    arms = arms_in(study, cell)
    return tuple(
        label for label, arm in arms.items() if arm["settings"].get(_RANKING) == _AT_RANDOM
    )


def choice_controls(study: Study, cell: str) -> dict[str, str]:
    """Find each arm's control for its choice of filters.

    An arm that replays another's renewals is no such control where there is a drop phase: it has none, and its
    filters are drawn in another way. An arm of the same recipe, settings and training that ranks at random differs in
    the choice alone.

    Args:
        study: What was asked for.
        cell: The cell: a grid may make arms differ in one and not in another.

    Returns:
        Label of the arm to the label of its control; arms without one are absent.

    Edge cases:
        Several controls that are alike: the first. An arm that ranks at random has none.
    """
    arms = arms_in(study, cell)
    controls = {label: _all_but_the_choice(arms[label]) for label in random_arms(study, cell)}
    found: dict[str, str] = {}
    for label, arm in arms.items():
        if label not in controls:
            rest = _all_but_the_choice(arm)
            same = [control for control, other in controls.items() if other == rest]
            found |= {label: same[0]} if same else {}
    return found


def _all_but_the_choice(arm: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in arm["settings"].items() if key not in _OF_THE_CHOICE}
    return {**arm, "settings": settings}
