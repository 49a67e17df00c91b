"""A run's state as it is now: copies that go on being true while the run trains on, and plain values for a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, cast

from torch import Tensor


def copied(state: Any) -> Any:
    """A state that later training does not change."""
    return _with(state, lambda part: part.detach().clone() if isinstance(part, Tensor) else part)


def plain(state: Any) -> Any:
    """A state as a checkpoint can hold it."""
    return _with(state, _as_values)


def _as_values(part: Any) -> Any:
    return asdict(part) if is_dataclass(part) and not isinstance(part, type) else part


def _with(state: Any, change: Callable[[Any], Any]) -> Any:
    """A state in which each part that is no mapping and no list is changed."""
    if isinstance(state, Mapping):
        found = cast("Mapping[Any, Any]", state)
        return {key: _with(value, change) for key, value in found.items()}
    if isinstance(state, list | tuple):
        several = cast("list[Any] | tuple[Any, ...]", state)
        return type(several)(_with(value, change) for value in several)
    return change(state)
