"""What no filter made and what yet comes into filters' channels: the model's inputs, and its tensors that are added.

Setting a reader's slice to zero silences all that the channel carries. In ``x + f(x)`` that is the model's input too,
and in ``f(x) + position`` the embedding or the table, wherever it comes from, so neither leaves the channel to the
filter alone. A factor does: ``scale *
f(x)`` is nothing where the filter gives nothing. So does a bias, one number a channel: it is the channel's own.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from regrow.graph.record import Record
from regrow.graph.sets import as_names, different, squeezed

INPUT = "the model's input"

_TABLE = "a table that the forward makes"


def mark_inputs(record: Record, inputs: Iterable[Tensor]) -> None:
    """Note what the model is given: it depends on no filter, and yet it is an activation."""
    name = as_names(record.table.foreign(INPUT))
    for tensor in inputs:
        if tensor.layout == torch.strided:
            record.ledger.write(tensor, name)


def added(record: Record, tensor: Tensor, names: Tensor) -> int:
    """The set that stands for one of the model's tensors that is added; 0: it is an activation itself, or a bias."""
    label = label_of(record, tensor, buffers=True)
    if not label:
        return 0
    ndim = max(tensor.ndim, names.ndim)
    moving = _moving_axes(record, tensor, ndim)
    if not moving:
        return 0
    # A vector along the channels is a bias by hand, one number a channel, and leaves the filter alone with its channel.
    # The same numbers along positions are an embedding: zeroed readers would lose it.
    if len(moving) == 1:
        small = squeezed(names, ndim)
        telling = [axis for axis in range(ndim) if _tells_apart(small, axis)]
        if moving[0] in telling:
            return 0
        if not telling and all(record.table.size(name) != 1 for name in different(small)):
            return 0  # behind a mixing operation no axis tells channels apart, and no channel is one filter's
    return record.table.foreign(label)


def moved(record: Record, tensor: Tensor) -> int:
    """The set that stands for a parameter that is put beside activations, as a class token is; 0: it is none."""
    label = label_of(record, tensor, buffers=False)
    return record.table.foreign(label) if label else 0


def label_of(record: Record, tensor: Tensor, *, buffers: bool) -> str:
    """What a tensor is, in words; "" for activations, masks and noise, and without `buffers` for constants."""
    # Whole numbers and flags steer (indices, masks) and are not added to activations.
    if tensor.layout != torch.strided or not tensor.dtype.is_floating_point:
        return ""
    notes = record.ledger.find(tensor)
    if notes is not None and (notes.live or notes.computed):
        return "" if notes.live else f"what {notes.computed_by} gives"
    if notes is not None and notes.drawn:
        return ""
    owners = sorted(record.ledger.owners(tensor))
    for name in owners:
        if name in record.parameters:
            return f"a parameter '{name}'"
    constant = f"a buffer '{owners[0]}'" if owners else _TABLE
    return constant if buffers else ""


def _moving_axes(record: Record, tensor: Tensor, ndim: int) -> list[int]:
    """The axes along which a tensor changes, counted in `ndim` axes."""
    # By where the entries are from and not by their values: an embedding that begins with zeros is trained to differ.
    told = record.ledger.origins(tensor)
    notes = record.ledger.find(tensor)
    if told is None and not (notes is not None and notes.computed) and not tensor.is_meta:
        # Numbers that nobody trains are the same wherever they are equal: ones, padding.
        told = tensor.detach()
    if told is not None:
        small = squeezed(told, ndim)
        return [axis for axis in range(ndim) if small.shape[axis] > 1]
    first = ndim - tensor.ndim
    return [
        axis + first
        for axis in range(tensor.ndim)
        if tensor.shape[axis] > 1 and tensor.stride(axis) != 0
    ]


def _tells_apart(names: Tensor, axis: int) -> bool:
    """Whether different sets lie along an axis; places that depend on nothing (padding) do not count."""
    highest = names.amax(axis, keepdim=True)
    return bool(((names != highest) & (names != 0)).any())
