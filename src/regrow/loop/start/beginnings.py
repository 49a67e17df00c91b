"""What layers began with: it is read before training, and is in the saved state, for a model does not keep it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from regrow.errors import StateError
from regrow.graph import Norm
from regrow.renewal import Layer


class Beginnings:
    """The layers of a model, each with what it began with."""

    def __init__(
        self, layers: Mapping[str, Layer], tensors: Mapping[str, Tensor], *, first: bool
    ) -> None:
        self.layers = dict(layers)  # by module path, as a renewal is to see them
        self._load_fresh(_fresh_entries(layers.values(), tensors))
        # Copies of the weights and biases that the layers began with, by name; empty where nobody must know.
        self.first: dict[str, Tensor] = {}
        if first:
            own = [name for each in layers.values() for name in _own(each)]
            self._load_first({name: tensors[name].detach().clone() for name in own})

    def _load_fresh(self, fresh: Mapping[str, float]) -> None:
        # What an entry of a fresh channel holds, of norms that began with something else than torch's own values.
        self.fresh = dict(fresh)
        self.layers = {path: _with_fresh(layer, fresh) for path, layer in self.layers.items()}

    def _load_first(self, first: Mapping[str, Tensor]) -> None:
        # In main memory: they are looked at in a renewal alone.
        self.first = {name: values.to("cpu") for name, values in first.items()}
        self.layers = {
            path: replace(layer, first=self.first) for path, layer in self.layers.items()
        }

    def scaled(self, factors: Mapping[str, float]) -> None:
        """Layers were scaled before the first step, by path: that is what they begin with."""
        by_weight = {
            layer.filters.weight: factors.get(path, 1.0) for path, layer in self.layers.items()
        }
        if self.first:
            self._load_first(
                {name: first * by_weight.get(name, 1.0) for name, first in self.first.items()}
            )

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {"fresh": dict(self.fresh), **({"first": self.first} if self.first else {})}

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse what `load_state_dict` cannot work with."""
        check_first(state, self.first)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume."""
        self._load_fresh(state["fresh"])
        if self.first:
            self._load_first(state["first"])


def _fresh_entries(layers: Iterable[Layer], tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """By name; a scale that begins at 0, so that a block begins as nothing, begins at 0 again for a renewed filter."""
    # A layer that says itself what is fresh (`regrow.graph.ChannelNorm`) is believed.
    norms = [norm for layer in layers for norm in layer.filters.norms if not norm.declared]
    found: dict[str, float] = {}
    for each in (tensor for norm in norms for tensor in norm.tensors):
        if each.is_parameter and not isinstance(each.fresh, str):
            # Where entries differ, the network has been trained, and torch's own value stands.
            began = one_number(tensors[each.name].detach())
            if began is not None and began != each.fresh:
                found[each.name] = began
    return found


def one_number(values: Tensor) -> float | None:
    """The number that a tensor holds throughout, or None."""
    flat = values.flatten()
    return float(flat[0]) if len(flat) and bool((flat == flat[0]).all()) else None


def check_first(state: Mapping[str, Any], first: Mapping[str, Tensor]) -> None:
    """Refuse a saved state whose first values are not those of the same tensors."""
    for name, own in first.items():
        if name not in state["first"] or state["first"][name].shape != own.shape:
            raise StateError(f"the saved regrower's first values of {name} are not whole")


def _with_fresh(layer: Layer, fresh: Mapping[str, float]) -> Layer:
    """A layer whose norms know what their fresh channels began with."""
    names = {each.name for norm in layer.filters.norms for each in norm.tensors}
    if names.isdisjoint(fresh):
        return layer
    norms: list[Norm] = []
    for norm in layer.filters.norms:
        own = [replace(each, fresh=fresh.get(each.name, each.fresh)) for each in norm.tensors]
        norms.append(replace(norm, declared=tuple(own)))
    return replace(layer, filters=replace(layer.filters, norms=tuple(norms)))


def _own(layer: Layer) -> list[str]:
    filters = layer.filters
    return [filters.weight] if filters.bias is None else [filters.weight, filters.bias]
