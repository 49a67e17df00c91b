"""How large the weights are that read each unit of a layer, over all of its readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from regrow.criteria import Criterion, Signal
from regrow.criteria.utility import input_sizes
from regrow.graph.filters import Reader
from regrow.renewal import Layer


@dataclass(frozen=True)
class _Columns:
    """The input channels of one reader, and whose they are."""

    reader: Reader

    @cached_property
    def plain(self) -> bool:
        """Whether channel k is unit k's: then nothing has to be gathered."""
        return self.reader.channels == tuple((k,) for k in range(len(self.reader.channels)))

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Units and channels, side by side."""
        listed = [(u, c) for u, channels in enumerate(self.reader.channels) for c in channels]
        found = torch.tensor(listed, dtype=torch.int64, device="cpu").reshape(-1, 2)
        return found[:, 0], found[:, 1]


class OutgoingSizes:
    """The sizes of the weights that read each unit, as they are at the moment."""

    def __init__(self, layers: Mapping[str, Layer]) -> None:
        self._counts = {path: layer.filters.count for path, layer in layers.items()}
        self._columns = {
            path: None
            if layer.filters.refused or not layer.filters.readers
            else [_Columns(reader) for reader in layer.filters.readers]
            for path, layer in layers.items()
        }

    @classmethod
    def asked_by(cls, criterion: Criterion, layers: Mapping[str, Layer]) -> OutgoingSizes | None:
        """For a criterion that looks at readers; None for others."""
        return cls(layers) if Signal.READERS in criterion.needs else None

    def of(self, path: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """(O,) of one layer; None where its readers are not all known."""
        columns = self._columns[path]
        if columns is None:
            return None
        found: Tensor | None = None
        for each in columns:
            reader = each.reader
            weight = tensors[reader.weight].detach()
            sizes = input_sizes(
                weight.t() if reader.columns else weight, kind=reader.kind, groups=reader.groups
            )
            if not each.plain or len(sizes) != self._counts[path]:
                units, channels = (index.to(sizes.device) for index in each.pairs)
                whole = sizes.new_zeros(self._counts[path])
                sizes = whole.index_add_(0, units, sizes[channels])
            found = sizes if found is None else found + sizes
        return found
