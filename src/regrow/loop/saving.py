"""What a saved regrower must be before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from regrow.errors import StateError

STATE_VERSION: Final = 2
"""Raised with every change of what a saved regrower holds."""

_SAME: Final = ("version", "recipe", "layers", "seed")


def check_saved(state: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Refuse a saved state of another regrower, or one that is not whole.

    Args:
        state: What is to be loaded.
        mine: What the regrower that loads it would save now.

    Raises:
        StateError: Version, recipe, layers, seed or the treatment of the optimizer differ, or something is missing.
    """
    for key in _SAME:
        if state.get(key) != mine[key]:
            raise StateError(
                f"the saved regrower has {key} {state.get(key)!r}, this one has {mine[key]!r}"
            )
    missing = sorted(set(mine) - set(state))
    if missing:
        raise StateError(f"the saved regrower lacks {', '.join(missing)}")
    kept = [[memory is not None for memory in one["optimizers"]] for one in (state, mine)]
    if kept[0] != kept[1]:
        raise StateError(
            "the saved regrower and this one differ in reset_optimizer, or in their number of optimizers"
        )
    for path, count in mine["layers"].items():
        born = state["born"].get(path)
        if born is None or born.shape != (count,) or path not in state["criteria"]:
            raise StateError(f"the saved regrower's memory of '{path}' is not whole")
