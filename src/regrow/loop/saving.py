"""What a saved regrower must be before it is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from torch import Tensor

from regrow.errors import StateError

STATE_VERSION: Final = 5
"""Raised with every change of what a saved regrower holds."""

_SAME: Final = ("version", "recipe", "layers", "seed")


def brought_up(state: object) -> Any:
    """A saved state of version 4 as one of today's, which knows of norms that average with a count of their own.

    Args:
        state: What is to be loaded. Not changed.

    Returns:
        The same where it is of another version, or no state at all: `check_saved` says so.

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


def check_resting(
    state: object,
    tensors: Mapping[str, Tensor],
    *,
    counts: Mapping[str, int],
    parameters: Collection[str],
) -> None:
    """Refuse a saved state of dropped filters that `Resting.load_state_dict` cannot work with.

    Args:
        state: What is to be loaded.
        tensors: Parameters and buffers by name.
        counts: Number of filters by layer.
        parameters: The names of those that are parameters.

    Raises:
        StateError: It is not whole, or of another network, or the network's own state was not loaded.
    """
    needed = {"masks", "scores", "frozen", "saved", "since"}
    if not isinstance(state, Mapping) or needed - set(cast("Mapping[str, Any]", state)):
        raise StateError(
            f"the saved state of dropped filters must have {', '.join(sorted(needed))}"
        )
    whole = cast("Mapping[str, Any]", state)
    for layer, mask in (*whole["masks"].items(), *whole["scores"].items()):
        if layer not in counts or tuple(mask.shape) != (counts[layer],):
            raise StateError(
                f"the saved state has dropped filters of '{layer}', which is not so here"
            )
    for name, tensor in (*whole["frozen"].items(), *whole["saved"].items()):
        if name not in tensors or tensor.shape != tensors[name].shape:
            raise StateError(
                f"the saved state silences {name}, which is not in this model, or of another shape"
            )
    if (
        whole["frozen"].keys() != whole["saved"].keys()
        or whole["masks"].keys() != whole["scores"].keys()
    ):
        raise StateError("the saved state of dropped filters is not whole")
    for name, mask in whole["frozen"].items():
        tensor = tensors[name].detach()
        if name in parameters and bool(tensor[mask.to(tensor.device)].any()):
            raise StateError(
                f"the saved state has filters out of the network, and in {name} they are not 0: load the model's "
                f"state first, of the same time"
            )


def _is_memory(memory: object, count: int) -> bool:
    """What a criterion remembers of a layer, by name: tensors with filters in front, and single numbers."""
    return isinstance(memory, Mapping) and all(
        isinstance(value, int | float)
        or (isinstance(value, Tensor) and (value.numel() == 1 or value.shape[:1] == (count,)))
        for value in cast("Mapping[str, object]", memory).values()
    )
