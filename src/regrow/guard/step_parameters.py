"""The parameters that one optimizer step moves, and which of them are one layer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from regrow.graph import Filters
from regrow.graph.slices import rows, unrows


@final
@dataclass(frozen=True, kw_only=True)
class Group:
    """What a guard takes for one layer: weight and bias together; or a parameter that is no layer's.

    Attributes:
        number: Its place among the groups of the model.
        name: The layer's module path, or the parameter's name.
        fresh: Length of a fresh one of this shape: sqrt of the sum of its squares.
        units: Filters of a layer; else entries of a vector, or rows.
        is_head: It is (part of) the model's output.
        fan_in: Numbers in one filter; 0 where it is no layer.
    """

    number: int
    name: str
    fresh: float
    units: int
    is_head: bool = False
    fan_in: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Part:
    """One parameter of a group.

    Attributes:
        parameter: It.
        group: Whose it is.
        filters: The layer whose weight it is; None for a bias and for everything else.
    """

    parameter: Tensor
    group: Group
    filters: Filters | None = None

    def unit_rows(self, tensor: Tensor) -> Tensor:
        """A tensor of the parameter's shape as one row a unit, (units, F), which may share its memory."""
        if self.filters is not None:
            return rows(tensor, self.filters)
        return tensor.reshape(self.group.units, -1)

    def spread(self, by_unit: Tensor) -> Tensor:
        """One number a unit, (units,), as a tensor of the parameter's shape."""
        shape = self.parameter.shape
        full = by_unit[:, None].expand(self.group.units, self.parameter.numel() // len(by_unit))
        return unrows(full, self.filters) if self.filters is not None else full.reshape(shape)


@final
class StepParameters:
    """The parameters of one step.

    Attributes:
        parts: One a parameter.
        parameters: They themselves.
        groups: Those that have a part here.
        place: For each part the place of its group in `groups`.

    Args:
        parts: As above; not empty.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.parameters = [part.parameter for part in parts]
        self.groups = tuple({part.group.number: part.group for part in parts}.values())
        places = {group.number: place for place, group in enumerate(self.groups)}
        self.place = [places[part.group.number] for part in parts]

    @property
    def on_cpu(self) -> bool:
        """Whether a look at a number costs no wait for a device."""
        return self._home.type == "cpu"

    @property
    def is_exact(self) -> bool:
        """Whether no parameter must be widened to be added to: all are float32 or float64."""
        return all(each.dtype in {torch.float32, torch.float64} for each in self.parameters)

    @property
    def _home(self) -> torch.device:
        return self.parameters[0].device

    @cached_property
    def fresh(self) -> Tensor:
        """Length of each group when it is fresh, (G,), on the device of the first parameter."""
        lengths = [group.fresh for group in self.groups]
        exact = torch.float32 if self._home.type == "mps" else torch.float64
        return torch.tensor(lengths, dtype=exact, device=self._home)

    @cached_property
    def _index(self) -> Tensor:
        return torch.tensor(self.place, device=self._home)

    def lengths(self, tensors: Sequence[Tensor]) -> Tensor:
        """Of each group the length of all its parts together, (G,), of one tensor a part."""
        return self.joined(lengths_of(tensors))

    def joined(self, each: Tensor) -> Tensor:
        """Of each group the length of all its parts together, from the length of each part."""
        if len(self.groups) == len(self.parts):
            return each
        squares = each.new_zeros(len(self.groups)).index_add_(0, self._index, each.square())
        return squares.sqrt_()


def lengths_of(tensors: Sequence[Tensor], *, norm: float = 2.0) -> Tensor:
    """The length of each dense tensor, float32 or wider, on the device of the first; `norm` inf: its largest entry."""
    kinds = {each.dtype for each in tensors}
    if kinds <= {torch.float32} and norm == 2.0:
        found = torch._foreach_norm(list(tensors), norm)  # pyright: ignore[reportPrivateUsage]
    else:  # sums of half precision in float32
        found = [torch.linalg.vector_norm(each, norm, dtype=_wide(each.dtype)) for each in tensors]
    home, wide = found[0].device, torch.float32
    if any(each.dtype != wide or each.device != home for each in found):
        for each in found:
            wide = torch.promote_types(wide, each.dtype)
        found = [each.to(home, wide) for each in found]
    return torch.stack(tuple(found))


def _wide(dtype: torch.dtype) -> torch.dtype:
    complex_ = dtype.is_complex
    return torch.promote_types(dtype, torch.complex64 if complex_ else torch.float32)
