"""Take filters out of a network for a while: what must be zero so that the rest is the smaller network.

Used by `loop/drop`; gives edits, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from regrow._shapes import Mask
from regrow.graph import Norm, Reader, Wiring, gates
from regrow.graph.slices import bias_mask, fresh_entry, weight_mask
from regrow.renewal.base import Edit


@final
class Absence:
    """Which filters are out of a network, and what is silent with them.

    A filter is out when its weights, bias and norm entries are 0. A channel is silent when all its writers are out:
    then the slices that read it are 0 too, so that it is not heard where an activation turns 0 into something else, and
    so are norm entries behind a sum. A filter of a grouped layer that reads silent channels only is out with them:
    behind a depthwise layer the smaller network has no such channel. What writers that are still there share with one
    that is out is kept: there it adds 0. What somebody else uses too (`Wiring.shared`) is kept.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._kept = wiring.shared.keys()
        self._layers = {layer.path: layer for layer in wiring.layers}
        self._by_weight = {layer.weight: layer for layer in wiring.layers}
        self._first: dict[str, int] = {}
        self._count = 0
        for path, layer in self._layers.items():
            self._first[path] = self._count
            self._count += layer.count
        ignored = {path for path, gate in gates(wiring).items() if gate.only}
        self._readers: dict[str, tuple[Reader, _Channels]] = {}
        self._norms: dict[str, tuple[Norm, _Channels]] = {}
        for path, layer in self._layers.items():
            if path in ignored:
                continue
            first, foreign = self._first[path], layer.foreign or (False,) * layer.count
            for reader in layer.readers:
                _, heard = self._readers.setdefault(reader.weight, (reader, _Channels()))
                heard.add(first, reader.channels)
                heard.block(
                    channel
                    for unit, flags in enumerate(reader.alone)
                    if foreign[unit]
                    for channel, alone in zip(reader.channels[unit], flags, strict=True)
                    if not alone
                )
            for norm in (*layer.norms, *layer.shared_norms):
                self._norms.setdefault(norm.path, (norm, _Channels()))[1].add(first, norm.channels)
            for norm in layer.shared_norms:
                self._norms[norm.path][1].block(
                    entry
                    for unit in range(layer.count)
                    if foreign[unit]
                    for entry in norm.channels[unit]
                )
        self._grouped = [
            layer
            for layer in self._layers.values()
            if layer.groups > 1
            and not (layer.is_head or layer.unread)
            and layer.weight in self._readers
            and self._kept.isdisjoint({layer.weight, layer.bias})
        ]

    def edits(self, masks: Mapping[str, Mask], *, params: Mapping[str, Tensor]) -> list[Edit]:
        """Zeros where the filters that are out speak and are heard; mean 0 and variance 1 of silent norm entries."""
        present = self._present(masks)
        found: list[Edit] = []
        for path, layer in self._layers.items():
            mask = self._of(path, present) == 0
            if bool(mask.any()):
                found.append(Edit(name=layer.weight, mask=weight_mask(layer, mask), value=0.0))
                if layer.bias is not None:
                    found.append(Edit(name=layer.bias, mask=bias_mask(layer, mask), value=0.0))
        for norm, heard in self._norms.values():
            found.extend(_norm_edits(norm, heard, present, params))
        for reader, heard in self._readers.values():
            found.extend(_reader_edits(reader, heard, present, params))
        return [edit for edit in found if edit.name not in self._kept]

    def unheard(
        self, masks: Mapping[str, Mask], *, params: Mapping[str, Tensor]
    ) -> dict[str, Mask]:
        """Where the filters that are there read silent channels, and nothing else: masks of readers' weights by name.

        While these entries are 0, nobody notices what comes back in front of them.
        """
        present = self._present(masks)
        found: dict[str, Mask] = {}
        for reader, heard in self._readers.values():
            if reader.weight in self._kept:
                continue
            for edit in _reader_edits(reader, heard, present, params):
                mask = edit.mask.expand(params[edit.name].shape)
                layer = self._by_weight.get(edit.name)
                if layer is not None:
                    mask = mask & ~weight_mask(layer, self._of(layer.path, present) == 0)
                found[edit.name] = mask
        return found

    def emptied(self, masks: Mapping[str, Mask]) -> set[str]:
        """The layers that have no filter left."""
        present = self._present(masks)
        return {path for path in self._layers if not bool(self._of(path, present).any())}

    def bound(self, masks: Mapping[str, Mask]) -> dict[str, tuple[int, ...]]:
        """The filters that go out with others because they read nothing else, by layer, without those in `masks`."""
        present = self._present(masks)
        found: dict[str, tuple[int, ...]] = {}
        for path in self._layers:
            mask = self._of(path, present) == 0
            mask &= ~masks[path].cpu() if path in masks else True
            if bool(mask.any()):
                found[path] = tuple(mask.nonzero()[:, 0].tolist())
        return found

    def _present(self, masks: Mapping[str, Mask]) -> Tensor:
        """1 for every filter of the network that is not out, 0 for the others."""
        present = torch.ones(self._count, dtype=torch.int32, device="cpu")
        for path, mask in masks.items():
            self._of(path, present).masked_fill_(mask.cpu(), 0)
        self._follow(present)
        return present

    def _of(self, path: str, flat: Tensor) -> Tensor:
        first = self._first[path]
        return flat[first : first + self._layers[path].count]

    def _follow(self, present: Tensor) -> None:
        """Take out what hears nobody, in call order, until nothing changes."""
        changed = bool((present == 0).any())
        while changed:
            changed = False
            for layer in self._grouped:
                shape = layer.weight_shape
                inputs = shape[0] if layer.inputs_first else shape[1] * layer.groups
                silent = self._readers[layer.weight][1].silent(present, inputs)
                deaf = silent.reshape(layer.groups, -1).all(1)
                mask = deaf.repeat_interleave(layer.count // layer.groups)
                mine = self._of(layer.path, present)
                if bool((mine[mask] > 0).any()):
                    mine.masked_fill_(mask, 0)
                    changed = True


class _Channels:
    """The channels of a reader, or the entries of a norm, with their writers.

    Behind a mixing operation all filters share one long list of channels: it is kept once.
    """

    def __init__(self) -> None:
        self._lists: dict[int, int] = {}  # identity of a list of channels: its number
        self._units: list[tuple[int, int]] = []  # filter, number of its list
        self._channels: list[tuple[int, int]] = []  # channel, number of its list
        self._kept: list[Sequence[int]] = []  # an identity is one as long as it lives
        self._blocked: set[int] = set()
        self._tensors: tuple[Tensor, Tensor] | None = None

    def add(self, first: int, channels: Sequence[Sequence[int]]) -> None:
        """Note the channels of a layer's filters."""
        for unit, entries in enumerate(channels):
            if not entries:
                continue
            number = self._lists.get(id(entries))
            if number is None:
                number = self._lists[id(entries)] = len(self._kept)
                self._kept.append(entries)
                self._channels.extend((channel, number) for channel in entries)
            self._units.append((first + unit, number))

    def block(self, channels: Iterable[int]) -> None:
        """These hold something that is no filter: never silent."""
        self._blocked.update(channels)

    def silent(self, present: Tensor, size: int) -> Tensor:
        """Bool (size,): the channels all of whose writers are out."""
        if self._tensors is None:
            self._tensors = (
                torch.tensor(self._units, dtype=torch.int64, device="cpu").reshape(-1, 2),
                torch.tensor(self._channels, dtype=torch.int64, device="cpu").reshape(-1, 2),
            )
        units, channels = self._tensors
        there = torch.zeros(len(self._kept), dtype=torch.int32, device="cpu")
        there.index_add_(0, units[:, 1], present[units[:, 0]])
        writers = torch.zeros(size, dtype=torch.int32, device="cpu")
        writers.index_add_(0, channels[:, 0], (there > 0).to(torch.int32)[channels[:, 1]])
        known = torch.zeros(size, dtype=torch.bool, device="cpu")
        known[channels[:, 0]] = True
        known[list(self._blocked)] = False
        return known & (writers == 0)


def _norm_edits(
    norm: Norm, heard: _Channels, present: Tensor, params: Mapping[str, Tensor]
) -> Iterator[Edit]:
    for each in norm.tensors:
        silent = heard.silent(present, params[each.name].shape[0])
        if bool(silent.any()):
            value = 0.0 if each.is_parameter else fresh_entry(each, params)
            yield Edit(name=each.name, mask=silent, value=value, is_parameter=each.is_parameter)


def _reader_edits(
    reader: Reader, heard: _Channels, present: Tensor, params: Mapping[str, Tensor]
) -> Iterator[Edit]:
    if reader.standardised:
        return
    shape = tuple(params[reader.weight].shape)
    inputs = shape[0] if reader.inputs_first else shape[1] * reader.groups
    silent = heard.silent(present, inputs)
    if bool(silent.any()):
        yield Edit(name=reader.weight, mask=_input_mask(reader, silent, shape), value=0.0)


def _input_mask(reader: Reader, silent: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The entries of a weight that multiply these channels: as `reader_mask`, by channel and not by filter."""
    spatial = (1,) * (len(shape) - 2)
    if reader.inputs_first:
        return silent.reshape(shape[0], 1, *spatial)
    if reader.groups == 1:
        return silent.reshape(1, shape[1], *spatial)
    outputs, width = shape[:2]
    by_row = silent.reshape(reader.groups, 1, width).expand(-1, outputs // reader.groups, width)
    return by_row.reshape(outputs, width, *spatial)
