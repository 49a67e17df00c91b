"""What readers receive on the average, from what a criterion has seen in training: nothing is run for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvTransposeNd  # pyright: ignore[reportPrivateUsage] # its base class

from regrow.graph import Filters
from regrow.graph.filters import Reader
from regrow.graph.flows import Outlet
from regrow.loop.host import Host
from regrow.renewal import Activity, ReaderActivity


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where one reader hears a layer."""

    outlet: int | None  # the number of the outlet that shows what it receives; None where none does
    # Of each unit, (O, P) input channels of the reader; None where units have different numbers of them.
    channels: Tensor | None


class LiveMeans:
    """The means of units, at the inputs of their readers.

    Args:
        host: The model in its training. No constant is moved into what somebody else uses too.
    """

    def __init__(self, host: Host) -> None:
        wiring = host.wiring
        self._layers = {path: layer.filters for path, layer in host.layers.items()}
        self._modules = dict(host.model.named_modules())
        self._biases = {
            each.path: each.bias for each in wiring.layers if each.bias not in wiring.shared
        }
        self._places = {
            (each.path, reader.path): _place_of(reader, wiring.flows[each.path].outlets)
            for each in self._layers.values()
            for reader in each.readers
            if each.path in wiring.flows
        }

    def activity(
        self, means: Mapping[str, Mapping[int, Tensor]], params: Mapping[str, Tensor]
    ) -> Activity:
        """What the readers of some layers receive.

        Args:
            means: By layer and outlet, (O, P): what its units give.
            params: Parameters by name.

        Returns:
            By reader. Where nothing is known of a mean, or the reader has no bias of its own, nothing can be moved.
        """
        received: dict[str, Tensor] = {}
        readers: dict[str, Reader] = {}
        moves: dict[str, bool] = {}
        for path, by_outlet in means.items():
            for reader in self._layers[path].readers:
                weight = params[reader.weight]
                if reader.path not in received:
                    received[reader.path] = torch.zeros(
                        _inputs(reader, weight), dtype=torch.float64, device="cpu"
                    )
                    readers[reader.path], moves[reader.path] = reader, True
                place = self._places.get((path, reader.path))
                mean = (
                    None if place is None or place.outlet is None else by_outlet.get(place.outlet)
                )
                if place is None or mean is None or not _fill(received[reader.path], place, mean):
                    moves[reader.path] = False
        return {
            path: ReaderActivity(
                mean=mean,
                taps=self._taps(path),
                inputs_a_group=len(mean) // readers[path].groups,
                bias=self._biases.get(path) if moves[path] else None,
            )
            for path, mean in received.items()
        }

    def lost(self, filters: Filters) -> list[str]:
        """Where a layer's means are lost, one note or none."""
        where = [
            reader.path
            for reader in filters.readers
            if self._biases.get(reader.path) is None
            or (place := self._places.get((filters.path, reader.path))) is None
            or place.outlet is None
            or place.channels is None
        ]
        if not where:
            return []
        return [
            f"{filters.path}: what its units gave on the average is not moved into {', '.join(where)}, which has no "
            "bias of its own, or hears them behind something else"
        ]

    def _taps(self, path: str) -> float:
        module = self._modules.get(path)
        return 1.0 / math.prod(module.stride) if isinstance(module, _ConvTransposeNd) else 1.0


def _place_of(reader: Reader, outlets: Sequence[Outlet]) -> _Place:
    """The outlet that is the reader's own argument: behind any other one something may change the mean."""
    widths = {len(each) for each in reader.channels}
    channels = None
    if len(widths) == 1 and widths != {0}:
        listed = [sorted(each) for each in reader.channels]
        channels = torch.tensor(listed, dtype=torch.int64, device="cpu")
    if reader.standardised:
        return _Place(outlet=None, channels=channels)
    own = [n for n, each in enumerate(outlets) if each.site.module == reader.path]
    return _Place(outlet=own[0] if own else None, channels=channels)


def _fill(received: Tensor, place: _Place, mean: Tensor) -> bool:
    """Write the means into the reader's channels; whether they fit."""
    if place.channels is None or place.channels.shape != mean.shape:
        return False
    received[place.channels] = mean.to("cpu", torch.float64).nan_to_num(0.0)
    return True


def _inputs(reader: Reader, weight: Tensor) -> int:
    """Input channels of a reader, over all groups."""
    if reader.inputs_first:
        return weight.shape[0]
    return weight.shape[1] * reader.groups
