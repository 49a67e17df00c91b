"""Who uses a tensor while a model runs: how often a weight works, and where a layer's output goes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regrow.graph.calling import tensors_in


@dataclass
class Fate:
    """What became of one tensor."""

    tensor: weakref.ref[Tensor]
    version: int  # torch's count of writes into it when it was made
    uses: int = 0  # how many operations took it
    norm: nn.Module | None = None  # the normalisation module that took it as it was made, or None


def only_norm(fates: Iterable[Fate]) -> nn.Module | None:
    """The one norm that takes all of some tensors, with nobody else."""
    norms = {fate.norm if fate.uses == 1 else None for fate in fates}
    return next(iter(norms)) if len(norms) == 1 else None


class Uses(TorchFunctionMode):
    """Counts, while it is on, the operations that take certain tensors and give tensors."""

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        # Tensors whose uses are counted from the start.
        self._weights = {id(weight): 0 for weight in weights}
        self._followed: dict[int, Fate] = {}

    def of(self, weight: Tensor) -> int:
        """How often a weight was used."""
        return self._weights[id(weight)]

    def follow(self, tensor: Tensor) -> Fate:
        """Follow a tensor that was just made."""
        fate = self._followed[id(tensor)] = Fate(weakref.ref(tensor), tensor._version)
        return fate

    def normed(self, tensor: Tensor, norm: nn.Module) -> None:
        """A normalisation module takes a tensor."""
        fate = self._fate_of(tensor)
        if fate is not None and fate.version == tensor._version:
            fate.norm = norm

    def _fate_of(self, tensor: Tensor) -> Fate | None:
        fate = self._followed.get(id(tensor))
        return fate if fate is not None and fate.tensor() is tensor else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        taken = list(tensors_in((args, given)))
        result = func(*args, **given)
        if any(True for _ in tensors_in(result)) or func.__name__ == "__setitem__":
            for tensor in taken:
                if id(tensor) in self._weights:
                    self._weights[id(tensor)] += 1
                fate = self._fate_of(tensor)
                if fate is not None:
                    fate.uses += 1
        return result
