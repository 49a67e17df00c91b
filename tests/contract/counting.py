"""A criterion of a user's: that of a recipe, which counts beside it what it has seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from regrow.criteria import Observation, Signal

_NUMBERS = ("counted", "counted in one", "counted in Python")
_OF_STATE = ("suspect", "means_of", "watches", "ripe", "renewed", "stirred", "encouraged", "kept")


@dataclass(frozen=True)
class Counting:
    """Three running counts of each layer: a tensor without axes, one with an axis of 1, a number of Python's."""

    inner: Any

    @property
    def needs(self) -> frozenset[Signal]:
        return self.inner.needs

    @property
    def every_step(self) -> bool:
        return self.inner.every_step

    def observe(self, state: dict[str, Any], observation: Observation) -> dict[str, Any]:
        found = self.inner.observe(_rest(state), observation)
        nothing = dict(zip(_NUMBERS, (torch.tensor(0), torch.zeros(1), 0), strict=True))
        return {**found, **{key: state.get(key, nothing[key]) + 1 for key in _NUMBERS}}

    def score(self, state: dict[str, Any], **keys: Any) -> tuple[dict[str, Any], Any]:
        found, scores = self.inner.score(_rest(state), **keys)
        return {**found, **_numbers(state)}, scores

    def __getattr__(self, name: str) -> Any:
        """What a criterion that watches has besides; one that does not has none of it here either."""
        if name == "idle":
            return lambda states: (
                not any(map(_numbers, states.values()))
                and self.inner.idle({key: _rest(state) for key, state in states.items()})
            )
        if name not in _OF_STATE:
            raise AttributeError(name)
        method = getattr(self.inner, name)
        return lambda state, *args, **keys: _with(state, method(_rest(state), *args, **keys))


def _rest(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in _NUMBERS}


def _numbers(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: state[key] for key in _NUMBERS if key in state}


def _with(state: Mapping[str, Any], found: Any) -> Any:
    """The counts go along in what a method gives back, where that is a state."""
    if isinstance(found, tuple):
        return (_with(state, found[0]), *found[1:])
    is_state = isinstance(found, dict) and all(isinstance(key, str) for key in found)
    return {**found, **_numbers(state)} if is_state else found


def counts(saved: Mapping[str, Any]) -> dict[str, list[float]]:
    """The counts of each layer in a saved regrower."""
    return {
        layer: [float(state[key]) for key in _NUMBERS if key in state]
        for layer, state in saved["criteria"].items()
    }
