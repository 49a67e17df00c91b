"""What a saved regrower must be before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor

from regrow.decision import Born, RecipeState
from regrow.errors import StateError

STATE_VERSION: Final = 5
"""Raised with every change of what a saved regrower holds."""

_SAME: Final = ("version", "recipe", "layers", "seed")


def brought_up(state: object) -> Any:
    """A saved state of version 4 as one of today's, which knows of norms that average with a count of their own.

    Examples:
        >>> brought_up({"version": 4, "step": 7})
        {'version': 5, 'step': 7, 'counted': {}}
    """
    if isinstance(state, Mapping):
        known = cast("Mapping[str, Any]", state)
        if known.get("version") == STATE_VERSION - 1:
            return {**known, "version": STATE_VERSION, "counted": {}}
    return state


def check_saved(state: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Refuse a saved state of another regrower, or one that is not whole."""
    if not isinstance(state, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] # users give what they have
        raise StateError(
            f"a saved regrower is a dict, as state_dict() gives it, got {type(state).__name__}"
        )
    for key in _SAME:
        if state.get(key) != mine[key]:
            raise StateError(
                f"the saved regrower has {key} {state.get(key)!r}, this one has {mine[key]!r}"
            )
    missing = sorted(set(mine) - set(state))
    if missing:
        raise StateError(f"the saved regrower lacks {', '.join(missing)}")
    kept = [[each is not None for each in one["optimizers"]] for one in (state, mine)]
    if kept[0] != kept[1]:
        raise StateError(
            "the saved regrower and this one differ in reset_optimizer, or in their number of optimizers"
        )
    lacking = sorted(set(mine["report"]) - set(state["report"]))
    if lacking:
        raise StateError(f"the saved regrower's report lacks {', '.join(lacking)}")
    for path, count in mine["layers"].items():
        born, own = state["born"].get(path), state["criteria"].get(path)
        if not isinstance(born, Tensor) or born.shape != (count,) or not _is_state_of(own, count):
            raise StateError(f"the saved regrower's state of '{path}' is not whole")


def recipe_state(state: Mapping[str, Any], devices: Mapping[str, torch.device]) -> RecipeState:
    """What the recipe knew, each layer's on its device."""
    return RecipeState(
        criteria={
            path: {
                key: value.to(device) if isinstance(value, Tensor) else value
                for key, value in state["criteria"][path].items()
            }
            for path, device in devices.items()
        },
        born=Born({path: state["born"][path].to("cpu") for path in devices}),
        selection=dict(state.get("selection", {})),
    )


def _is_state_of(state: object, count: int) -> bool:
    """What a criterion knows of a layer, by name: tensors with filters in front, and single numbers."""
    return isinstance(state, Mapping) and all(
        isinstance(value, int | float)
        or (isinstance(value, Tensor) and (value.numel() == 1 or value.shape[:1] == (count,)))
        for value in cast("Mapping[str, object]", state).values()
    )
