"""Products with weights: which entry of which parameter multiplies what.

A *product* multiplies what depends on the model's inputs by numbers of a parameter. Which numbers these are is read off
their values: every entry of every parameter is another float64 number, so that an operand that holds the very numbers
of a parameter is that parameter, sliced, turned, repeated or copied as it may be. Nothing else of the network is known
here: no layer's class, no module's name, no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

TWO_FACTORS = {
    "mm": (0, 1),
    "addmm": (1, 2),
    "bmm": (0, 1),
    "baddbmm": (1, 2),
    "mv": (0, 1),
    "addmv": (1, 2),
    "dot": (0, 1),
}
"""Where the two factors stand among the arguments."""


class Spot(NamedTuple):
    """A line of a parameter: a filter, or what reads one channel.

    Attributes:
        tensor: The parameter's name, or what computed the weight.
        axis: The axis along which lines are counted.
        index: Which of them. Of grouped convolutions inputs are counted over all groups, as outputs of transposed ones.
    """

    tensor: str
    axis: int
    index: int


@dataclass
class Product:
    """One product with a weight.

    Attributes:
        reads: For each channel of the input (with the batch of a weight that differs over it) the lines that read it.
        writes: The same of the output.
        axes: The input's axes of those places.
        out_axes: The output's.
        given: The input, as it was recorded.
        gave: The output.
    """

    reads: dict[tuple[int, ...], frozenset[Spot]]
    writes: dict[tuple[int, ...], frozenset[Spot]]
    axes: tuple[int, ...]
    out_axes: tuple[int, ...]
    given: Tensor
    gave: Tensor


class Entries:
    """Recognises numbers of the model's parameters."""

    def __init__(self, net: nn.Module) -> None:
        self.shapes = {name: tuple(each.shape) for name, each in net.named_parameters()}
        flat = [each.detach().double().flatten() for each in net.parameters()]
        values = torch.cat(flat)
        self._sorted, order = values.sort()
        assert bool((self._sorted.diff() > 0).all()), "every entry must be another number"
        owner = torch.cat([torch.full((len(each),), n) for n, each in enumerate(flat)])
        place = torch.cat([torch.arange(len(each)) for each in flat])
        self._owner, self._place = owner[order], place[order]
        self._names = list(self.shapes)

    def lines(self, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """For each element the parameter's number, and its indices along the first and second axis; None if not all."""
        found = torch.searchsorted(self._sorted, tensor.contiguous()).clamp(
            max=len(self._sorted) - 1
        )
        if not torch.equal(self._sorted[found], tensor):
            return None
        owner, place = self._owner[found], self._place[found]
        first, second = torch.zeros_like(place), torch.zeros_like(place)
        for number in owner.unique().tolist():
            shape = self.shapes[self._names[number]]
            here = owner == number
            row = max(1, place.new_tensor(shape[1:]).prod().item())
            first[here] = place[here] // row
            column = max(1, place.new_tensor(shape[2:]).prod().item())
            second[here] = place[here] % row // column
        return owner, first, second

    def name(self, number: int) -> str:
        return self._names[number]


@dataclass(frozen=True)
class Weight:
    """The weight of one product.

    Attributes:
        entries: Recognises numbers.
        number: Of the product.
        lines: What `Entries.lines` said of the operand; None: it is computed.
    """

    entries: Entries
    number: int
    lines: tuple[Tensor, Tensor, Tensor] | None

    def spots(self, part: Any, *, axis: int, index: int, shift: int = 0) -> frozenset[Spot]:
        """The parameter's lines along an axis in a part of the operand."""
        if self.lines is None:
            return frozenset({Spot(f"a computed weight, product {self.number}", axis, index)})
        owner = self.lines[0][part].flatten().tolist()
        found = self.lines[1 + axis][part].flatten().tolist()
        return frozenset(
            Spot(self.entries.name(n), axis, place + shift * axis)
            for n, place in set(zip(owner, found, strict=True))
        )


def convolution(weight: Weight, args: Any, out: Tensor) -> Product:
    """A convolution's channels, transposed or not: a weight's first axis counts its outputs or its inputs."""
    x, transposed, groups = args[0], args[6], args[8]
    reads: dict[tuple[int, ...], frozenset[Spot]] = {}
    writes: dict[tuple[int, ...], frozenset[Spot]] = {}
    width, height = x.shape[1] // groups, out.shape[1] // groups
    first, second = (width, height) if transposed else (height, width)
    along_first, along_second = (reads, writes) if transposed else (writes, reads)
    for channel in range(first * groups):
        along_first[(channel,)] = weight.spots((channel,), axis=0, index=channel)
    for channel in range(second * groups):
        group, inside = divmod(channel, second)
        part = (slice(group * first, (group + 1) * first), inside)
        along_second[(channel,)] = weight.spots(part, axis=1, index=channel, shift=group * second)
    return Product(reads, writes, (1,), (1,), x.detach().clone(), out.detach().clone())


def matrix_product(
    weight: Weight, x: Tensor, operand: Tensor, out: Tensor, *, weight_first: bool
) -> Product:
    """A product of matrices, stacks of them or vectors; one of the two factors is the weight."""
    inner = operand.ndim - 1 if weight_first or operand.ndim == 1 else operand.ndim - 2
    outer = None if operand.ndim == 1 else 2 * operand.ndim - 3 - inner
    turned = weight_first and x.ndim > 1
    axis = x.ndim - 2 if turned else x.ndim - 1
    out_axis = () if outer is None else (out.ndim - 2 if turned else out.ndim - 1,)
    along = 1 if weight.lines is None else _summed_axis(weight.lines, inner)
    stacked = operand.ndim == 3
    reads: dict[tuple[int, ...], frozenset[Spot]] = {}
    writes: dict[tuple[int, ...], frozenset[Spot]] = {}
    for batch in range(operand.shape[0]) if stacked else (None,):
        key = () if batch is None else (batch,)
        for channel in range(operand.shape[inner]):
            part = _part(operand.ndim, batch, inner, channel)
            reads[(*key, channel)] = weight.spots(part, axis=along, index=channel)
        for channel in range(1 if outer is None else operand.shape[outer]):
            part = _part(operand.ndim, batch, outer, channel)
            place = key if outer is None else (*key, channel)
            writes[place] = weight.spots(part, axis=1 - along, index=channel)
    lead = (0,) if stacked else ()
    given, gave = x.detach().clone(), out.detach().clone()
    return Product(reads, writes, (*lead, axis), (*lead, *out_axis), given, gave)


def _summed_axis(lines: Any, inner: int) -> int:
    """Along which axis of the parameter the summed index runs: 1 for inputs of (filters, inputs), 0 if it is turned."""
    second = lines[2].movedim(inner, 0).reshape(lines[2].shape[inner], -1)
    apart = len(second) == 1 or bool((second[0] != second[1]).any())
    return 1 if apart and bool((second == second[:, :1]).all()) else 0


def _part(ndim: int, batch: int | None, axis: int | None, index: int) -> tuple[Any, ...]:
    part: list[Any] = [slice(None)] * ndim
    if batch is not None:
        part[0] = batch
    if axis is not None:
        part[axis] = index
    return tuple(part)


def places(changed: Tensor, axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Where along some axes anything changed."""
    over = [axis for axis in range(changed.ndim) if axis not in axes]
    found = changed.sum(over) > 0 if over else changed
    # `sum` keeps the order of the axes that stay, and places are told in the order of `axes`, which is theirs.
    return [tuple(place) for place in found.nonzero().tolist()]
