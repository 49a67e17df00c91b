"""Which entries of a parameter belong to which filters: masks that broadcast, and rows that put filters first.

Called by the renewals, the loop, grafting and the diagnostics, wherever "filter 3" has to become entries of a tensor.

* `weight_mask`, `bias_mask`, `norm_mask`: a filter's own entries.
* `fresh_entry`: what a norm's entry of a fresh channel holds.
* `reader_mask`: the entries of a later weight that multiply what a filter writes.
* In the place of a mask they take a number a filter as well, and put it at the filter's entries (0 at all others).
* `rows`, `unrows`: a weight as one row a filter, and back.

Pure functions of the names in `regrow.graph.filters`. All take leading axes ``*S`` (a stack of networks, usually none).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from regrow._shapes import FilterRows, Mask
from regrow.errors import ShapeError
from regrow.graph.filters import Filters, Norm, NormTensor, Reader


def weight_mask(filters: Filters, mask: Mask) -> Bool[Tensor, ...]:
    """The entries of a layer's weight that the marked filters own.

    Args:
        filters: The layer.
        mask: (*S, O), True = marked.

    Returns:
        Bool that broadcasts to (*S, *weight_shape): (*S, O, 1, ...) for convolutions and linear layers. A transposed
        convolution keeps its filters in axis 1, split over the groups: (*S, I, O/groups, 1, ...), or (*S, 1, O, 1, ...)
        without groups.

    Raises:
        ShapeError: The last axis of `mask` is not the layer's number of filters.

    Examples:
        >>> from regrow.graph.filters import Filters
        >>> conv = Filters(path="a", kind="conv", count=2, weight="a.weight", bias=None, weight_shape=(2, 3, 5, 5))
        >>> weight_mask(conv, torch.tensor([True, False])).shape
        torch.Size([2, 1, 1, 1])
    """
    if mask.ndim == 0 or mask.shape[-1] != filters.count:
        raise ShapeError(_wrong_mask(mask, filters.count, filters.path))
    shape = filters.weight_shape
    if filters.inputs_first:
        return _along_second_axis(mask, filters.groups, shape)
    return mask.reshape(*mask.shape[:-1], filters.count, *(1,) * (len(shape) - 1))


def bias_mask(filters: Filters, mask: Mask) -> Mask:
    """The entries of a layer's bias that the marked filters own.

    Args:
        filters: The layer.
        mask: (*S, O), True = marked.

    Returns:
        (*S, O): a bias has one entry a filter, in the filters' order, for every kind of layer.

    Raises:
        ShapeError: The last axis of `mask` is not the layer's number of filters.
    """
    if mask.ndim == 0 or mask.shape[-1] != filters.count:
        raise ShapeError(_wrong_mask(mask, filters.count, filters.path))
    return mask


def norm_mask(norm: Norm, mask: Mask, size: int) -> Bool[Tensor, "*S size"]:
    """The entries of a normalisation layer that see a marked filter and nothing else.

    Args:
        norm: The normalisation layer, as the filters' layer lists it.
        mask: (*S, O), True = marked.
        size: Number of entries of the normalisation layer.

    Returns:
        (*S, size). Entries that a marked filter shares with another writer are False.

    Raises:
        ShapeError: The last axis of `mask` is not the number of filters that `norm` describes.
    """
    if mask.ndim == 0 or mask.shape[-1] != len(norm.channels):
        raise ShapeError(_wrong_mask(mask, len(norm.channels), norm.path))
    return _spread(mask, norm.channels, size)


def fresh_entry(entry: NormTensor, tensors: Mapping[str, Tensor]) -> float:
    """What the entry of a fresh channel holds now, in a tensor of a normalisation layer."""
    return float(tensors[entry.fresh]) if isinstance(entry.fresh, str) else entry.fresh


def reader_mask(
    reader: Reader, mask: Mask, weight_shape: tuple[int, ...], *, only_alone: bool = True
) -> Bool[Tensor, ...]:
    """The entries of a reader's weight that multiply what the marked filters write.

    Setting them to zero makes the network blind to those filters, as far as this reader goes.

    Args:
        reader: The reading layer, as the filters' layer lists it.
        mask: (*S, O), True = marked.
        weight_shape: Shape of the reader's weight, without leading axes.
        only_alone: Leave out the channels that depend on another filter too: zeroing those would silence it as well.

    Returns:
        Bool that broadcasts to (*S, *weight_shape): (*S, 1, I, 1, ...) for a convolution or a linear layer; with groups
        (*S, O', I/groups, 1, ...), where only the rows of the channel's own group are True; (*S, I, 1, ...) for a
        transposed convolution.

    Raises:
        ShapeError: The last axis of `mask` is not the number of filters that `reader` describes.

    Examples:
        Filter 0 is read by channel 1 of a 1x1 convolution with 3 input channels:

        >>> from regrow.graph.filters import Reader
        >>> reader = Reader(path="b", kind="conv", weight="b.weight", groups=1, channels=((1,),), alone=((True,),))
        >>> reader_mask(reader, torch.tensor([True]), (2, 3, 1, 1)).flatten().tolist()
        [False, True, False]
    """
    if mask.ndim == 0 or mask.shape[-1] != len(reader.channels):
        raise ShapeError(_wrong_mask(mask, len(reader.channels), reader.path))
    channels = flagged(reader.channels, reader.alone, True) if only_alone else reader.channels
    if reader.inputs_first:
        read = _spread(mask, channels, weight_shape[0])
        return read.reshape(*read.shape, *(1,) * (len(weight_shape) - 1))
    read = _spread(mask, channels, weight_shape[1] * reader.groups)
    return _along_second_axis(read, reader.groups, weight_shape)


def rows(weight: Tensor, filters: Filters) -> FilterRows:
    """A weight as one row a filter.

    Args:
        weight: (*S, *weight_shape). Read, never written; the result may share its memory.
        filters: The layer that it belongs to.

    Returns:
        (*S, O, F), F the numbers of one filter in the order (input channel, kernel position).

    Raises:
        ShapeError: The trailing axes of `weight` are not the layer's weight shape.

    Examples:
        >>> from regrow.graph.filters import Filters
        >>> up = Filters(
        ...     path="a", kind="conv_transpose", count=3, weight="a.weight", bias=None, weight_shape=(2, 3, 1, 1)
        ... )
        >>> rows(torch.arange(6.0).reshape(2, 3, 1, 1), up)
        tensor([[0., 3.],
                [1., 4.],
                [2., 5.]])
    """
    shape = filters.weight_shape
    if weight.shape == shape and not filters.inputs_first:
        return weight.reshape(filters.count, -1)  # nearly always, in every step
    axes = len(shape)
    if tuple(weight.shape[weight.ndim - axes :]) != shape:
        came = tuple(weight.shape)
        raise ShapeError(
            f"a weight of shape (*S, {_comma(shape)}) is needed, got {came} ({filters.path})"
        )
    lead = weight.shape[: weight.ndim - axes]
    if not filters.inputs_first:
        return weight.reshape(*lead, filters.count, math.prod(shape[1:]))
    groups = filters.groups
    grouped = weight.reshape(*lead, groups, shape[0] // groups, *shape[1:])  # (*S, g, I/g, O/g, *K)
    return grouped.transpose(len(lead) + 1, len(lead) + 2).reshape(*lead, filters.count, -1)


def unrows(flat: FilterRows, filters: Filters) -> Tensor:
    """Rows of filters as a weight: the inverse of `rows`.

    Args:
        flat: (*S, O, F). Read, never written; the result may share its memory.
        filters: The layer that it belongs to.

    Returns:
        (*S, *weight_shape).

    Raises:
        ShapeError: `flat` has not the layer's number of filters or not their length.
    """
    shape = filters.weight_shape
    length = math.prod(shape) // filters.count
    if flat.ndim < 2 or tuple(flat.shape[-2:]) != (filters.count, length):
        came = tuple(flat.shape)
        raise ShapeError(
            f"rows of shape (*S, {filters.count}, {length}) are needed, got {came} ({filters.path})"
        )
    lead = flat.shape[:-2]
    if not filters.inputs_first:
        return flat.reshape(*lead, *shape)
    groups = filters.groups
    grouped = flat.reshape(
        *lead, groups, shape[1], shape[0] // groups, *shape[2:]
    )  # (*S, g, O/g, I/g, *K)
    return grouped.transpose(len(lead) + 1, len(lead) + 2).reshape(*lead, *shape)


def flagged(
    channels: Sequence[tuple[int, ...]], flags: Sequence[tuple[bool, ...]], wanted: bool
) -> tuple[tuple[int, ...], ...]:
    """Of each filter's channels those with the wanted flag; the (long) lists themselves where all have it."""
    return tuple(
        entries
        if len(own) == len(entries) and all(flag is wanted for flag in own)
        else tuple(c for c, flag in zip(entries, own, strict=True) if flag is wanted)
        for entries, own in zip(channels, flags, strict=True)
    )


def _along_second_axis(mask: Mask, groups: int, shape: tuple[int, ...]) -> Tensor:
    """A mask, group by group, of the entries along the second axis of a weight, each in the rows of its group."""
    lead = mask.shape[:-1]
    rows, width, *spatial = shape
    if groups == 1:
        by_row = mask.reshape(*lead, 1, width)
    else:
        by_group = mask.reshape(*lead, groups, 1, width)
        by_row = by_group.expand(*lead, groups, rows // groups, width).reshape(*lead, rows, width)
    return by_row.reshape(*by_row.shape, *(1 for _ in spatial))


def _spread(
    mask: Mask, channels: tuple[tuple[int, ...], ...], size: int
) -> Bool[Tensor, "*S size"]:
    """For each entry, whether one of the filters that it is listed under is marked; of numbers the largest of them."""
    filters = [f for f, entries in enumerate(channels) for _ in entries]
    entries = [entry for listed in channels for entry in listed]
    marked = mask[..., torch.tensor(filters, dtype=torch.int64, device=mask.device)]
    index = torch.tensor(entries, dtype=torch.int64, device=mask.device)
    if mask.dtype != torch.bool:
        values = mask.new_zeros(*mask.shape[:-1], size)
        return values.scatter_reduce(-1, index.expand_as(marked), marked, "amax")
    counts = torch.zeros(*mask.shape[:-1], size, dtype=torch.int32, device=mask.device)
    return counts.index_add_(-1, index, marked.to(torch.int32)) > 0


def _wrong_mask(mask: Tensor, count: int, path: str) -> str:
    return f"a mask of shape (*S, {count}) is needed, got {tuple(mask.shape)} ({path})"


def _comma(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)
