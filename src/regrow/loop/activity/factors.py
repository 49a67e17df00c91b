"""What stands between filters and their readers and is 0: norm scales, LayerScales, gates that start at nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import torch
from torch import Tensor, nn

from regrow.graph import Filters
from regrow.graph.flows import Factor


class Factors:
    """The factors of each layer's filters, as they are at the moment."""

    def __init__(self, model: nn.Module, factors: Mapping[str, Sequence[Factor]]) -> None:
        self._model = model  # holds them
        self._factors = factors  # by layer
        self._parameters = dict(model.named_parameters(remove_duplicate=False))

    def zeros(self, weights: Iterable[str]) -> frozenset[str]:
        """What has not begun, before training."""
        names = set(weights) | {
            factor.name for factors in self._factors.values() for factor in factors
        }
        return frozenset(
            name
            for name in names & self._parameters.keys()
            if not bool(self._parameters[name].detach().any())
        )

    def block(self, path: str, silent: Tensor, *, moving: Set[str]) -> Tensor:
        """Silent filters behind a 0 that nobody moves, or that is about to move."""
        found = torch.zeros_like(silent)
        factors = self._factors[path]
        for unit in silent.nonzero()[:, 0].tolist() if factors else ():
            for factor in factors:
                entries = self._zero_entries(factor, unit)
                if entries and (factor.name not in moving or self._moves(factor, entries)):
                    found[unit] = True
        return found

    def zero_for(self, path: str, filters: Sequence[int]) -> list[str]:
        """Names of the factors that are 0 for some filters."""
        return [
            factor.name
            for factor in self._factors[path]
            if any(self._zero_entries(factor, unit) for unit in filters)
        ]

    def _zero_entries(self, factor: Factor, unit: int) -> list[int]:
        tensor = self._parameters.get(factor.name)
        if tensor is None:  # moving a model replaces its buffers
            tensor = dict(self._model.named_buffers(remove_duplicate=False))[factor.name]
        flat = tensor.detach().flatten()
        return [entry for entry in factor.entries[unit] if bool(flat[entry] == 0)]

    def _moves(self, factor: Factor, entries: Sequence[int]) -> bool:
        grad = self._parameters[factor.name].grad
        return grad is not None and any(bool(grad.flatten()[entry] != 0) for entry in entries)


def scales(filters: Filters) -> tuple[Factor, ...]:
    """The scales of a layer's norms, as factors."""
    return tuple(
        Factor(name=norm.weight, entries=norm.channels)
        for norm in filters.norms
        if norm.weight is not None
    )
