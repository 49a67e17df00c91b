"""Which arms are the controls of networks that graft: plain averaging, and as many networks trained apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from regrow.report.cell_arms import arms_in
from regrow.report.cost import networks_of
from regrow.report.results import Study

APART: Final = "independent"
"""The recipe of networks that are trained side by side and never meet."""

_AMPLITUDE: Final = "amplitude"
_OF_THE_SHARE: Final = frozenset(
    {_AMPLITUDE, "sharpness", "criterion", "bins", "drop_maximum", "decimals", "unit"}
)
"""Settings that say how large a share is, and nothing about when and with whom a network grafts."""


def averaging_arms(study: Study, cell: str) -> tuple[str, ...]:
    """The arms whose networks average half and half, whatever their weights carry.

    Args:
        study: What was asked for.
        cell: The cell, for a grid over the amplitude.

    Returns:
        Labels in the study's order.
    """
    return tuple(label for label, arm in arms_in(study, cell).items() if _averages(arm))


def averaging_controls(study: Study, cell: str) -> dict[str, str]:
    """Find each arm's control for its shares: the same arm with an amplitude of 0.

    An amplitude of 0 gives every layer the share 0.5, so that what it is otherwise reckoned from (criterion,
    sharpness, bins) makes no difference and may differ.

    Args:
        study: What was asked for.
        cell: The cell.

    Returns:
        Label of the arm to the label of its control; arms without one are absent.

    Edge cases:
        Several controls that are alike: the first. An arm that averages has none.
    """
    arms = arms_in(study, cell)
    controls = {label: _all_but_the_share(arms[label]) for label in averaging_arms(study, cell)}
    found: dict[str, str] = {}
    for label, arm in arms.items():
        if _AMPLITUDE in arm["settings"] and label not in controls:
            rest = _all_but_the_share(arm)
            same = [control for control, other in controls.items() if other == rest]
            found |= {label: same[0]} if same else {}
    return found


def apart_controls(study: Study, cell: str) -> dict[str, str]:
    """Find, for each arm whose networks meet, the arm that trains as many networks apart in the same way.

    Args:
        study: What was asked for.
        cell: The cell.

    Returns:
        Label of the arm to the label of the other; arms without one are absent.

    Edge cases:
        Another training (its learning rates, its length), another model or other teachers: no control.
    """
    arms = arms_in(study, cell)
    controls = {
        label: _all_but_the_meeting(arm) for label, arm in arms.items() if arm["recipe"] == APART
    }
    found: dict[str, str] = {}
    for label, arm in arms.items():
        if networks_of(arm) > 1 and label not in controls:
            rest = _all_but_the_meeting(arm)
            same = [control for control, other in controls.items() if other == rest]
            found |= {label: same[0]} if same else {}
    return found


def _averages(arm: Mapping[str, Any]) -> bool:
    settings = arm["settings"]
    return (
        settings.get(_AMPLITUDE) == 0
        and settings.get("unit", "layer") == "layer"
        # A half without decimals is 0: the networks would change places.
        and settings.get("decimals") != 0
    )


def _all_but_the_share(arm: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in arm["settings"].items() if key not in _OF_THE_SHARE}
    return {**arm, "settings": settings}


def _all_but_the_meeting(arm: Mapping[str, Any]) -> tuple[object, ...]:
    return networks_of(arm), arm["train"], arm["model"], arm["teachers"], arm["distillation"]
