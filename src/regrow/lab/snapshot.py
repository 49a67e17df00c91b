"""A run's state as it is now: copies that go on being true while the run trains on, and plain values for a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, cast

from torch import Tensor


def copied(state: Any) -> Any:
    """A state that later training does not change."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        found = cast("Mapping[Any, Any]", state)
        return {key: copied(value) for key, value in found.items()}
    if isinstance(state, list | tuple):
        several = cast("list[Any] | tuple[Any, ...]", state)
        return type(several)(copied(value) for value in several)
    return state


def plain(state: Any) -> Any:
    """A state as a checkpoint can hold it."""
    if isinstance(state, Mapping):
        found = cast("Mapping[Any, Any]", state)
        return {key: plain(value) for key, value in found.items()}
    if isinstance(state, list | tuple):
        several = cast("list[Any] | tuple[Any, ...]", state)
        return type(several)(plain(value) for value in several)
    if is_dataclass(state) and not isinstance(state, type):
        return asdict(state)
    return state
