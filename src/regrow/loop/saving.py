"""What a saved regrower must be before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from torch import Tensor

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
    kept = [[memory is not None for memory in one["optimizers"]] for one in (state, mine)]
    if kept[0] != kept[1]:
        raise StateError(
            "the saved regrower and this one differ in reset_optimizer, or in their number of optimizers"
        )
    lacking = sorted(set(mine["report"]) - set(state["report"]))
    if lacking:
        raise StateError(f"the saved regrower's report lacks {', '.join(lacking)}")
    for path, count in mine["layers"].items():
        born, memory = state["born"].get(path), state["criteria"].get(path)
        if not isinstance(born, Tensor) or born.shape != (count,) or not _is_memory(memory, count):
            raise StateError(f"the saved regrower's memory of '{path}' is not whole")


def _is_memory(memory: object, count: int) -> bool:
    """What a criterion remembers of a layer: tensors by name, filters in front."""
    return isinstance(memory, Mapping) and all(
        isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == count
        for value in cast("Mapping[str, object]", memory).values()
    )
