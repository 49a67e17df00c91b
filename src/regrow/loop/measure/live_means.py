"""What readers receive on the average, from what a criterion has seen in training: nothing is run for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regrow.graph import Filters
from regrow.graph.filters import Reader
from regrow.graph.flows import Outlet
from regrow.loop.host import Host
from regrow.loop.measure.readers import inputs_of, taps_of
from regrow.renewal import Activity, ReaderActivity

_Place = tuple[int, Tensor]
"""The number of the outlet that shows what a reader receives of a layer, and (O, P) its input channels by unit."""


class LiveMeans:
    """The means of units, at the inputs of their readers; no constant is moved into what somebody else uses too."""

    def __init__(self, host: Host) -> None:
        wiring = host.wiring
        self._layers = {path: layer.filters for path, layer in host.layers.items()}
        self._modules = dict(host.model.named_modules())
        self._biases = {
            each.path: each.bias for each in wiring.layers if each.bias not in wiring.shared
        }
        self._places = {  # where one is known
            (each.path, reader.path): place
            for each in self._layers.values()
            for reader in each.readers
            if each.path in wiring.flows
            and (place := _place_of(reader, wiring.flows[each.path].outlets)) is not None
        }

    def activity(
        self, means: Mapping[str, Mapping[int, Tensor]], params: Mapping[str, Tensor]
    ) -> Activity:
        """What readers receive, by path; `means`: by layer and outlet, (O, P), what its units give."""
        received: dict[str, Tensor] = {}
        readers: dict[str, Reader] = {}
        lost: set[str] = set()
        for path, by_outlet in means.items():
            for reader in self._layers[path].readers:
                if reader.path not in received:
                    inputs = inputs_of(reader, params[reader.weight])
                    received[reader.path] = torch.zeros(inputs, dtype=torch.float64, device="cpu")
                    readers[reader.path] = reader
                if not self._fill(received[reader.path], path, reader, by_outlet):
                    lost.add(reader.path)
        return {
            path: ReaderActivity(
                mean=mean,
                taps=taps_of(self._modules.get(path)),
                inputs_a_group=len(mean) // readers[path].groups,
                bias=None if path in lost else self._biases.get(path),
            )
            for path, mean in received.items()
        }

    def _fill(
        self, received: Tensor, path: str, reader: Reader, means: Mapping[int, Tensor]
    ) -> bool:
        """Write a layer's means into its reader's channels; whether they are known, and fit."""
        outlet, channels = self._places.get((path, reader.path), (None, None))
        mean = None if outlet is None else means.get(outlet)
        if mean is None or channels is None or channels.shape != mean.shape:
            return False
        received[channels] = mean.to("cpu", torch.float64).nan_to_num(0.0)
        return True

    def lost(self, filters: Filters) -> list[str]:
        """Where a layer's means are lost, one note or none."""
        where = [
            reader.path
            for reader in filters.readers
            if self._biases.get(reader.path) is None
            or (filters.path, reader.path) not in self._places
        ]
        if not where:
            return []
        return [
            f"{filters.path}: what its units gave on the average is not moved into {', '.join(where)}, which has no "
            "bias of its own, or hears them behind something else"
        ]


def _place_of(reader: Reader, outlets: Sequence[Outlet]) -> _Place | None:
    """By the outlet that is the reader's own argument: behind any other one something may change the mean."""
    widths = {len(each) for each in reader.channels}
    own = [n for n, each in enumerate(outlets) if each.site.module == reader.path]
    if reader.standardised or not own or len(widths) != 1 or widths == {0}:
        return None
    listed = [sorted(each) for each in reader.channels]
    return own[0], torch.tensor(listed, dtype=torch.int64, device="cpu")
