"""What travels together between partners: tensors by their form, large ones alone and small ones in one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_SMALL: Final = 1 << 16
"""Tensors with fewer entries travel together: each message has a price of its own."""

_NAMES: Final = {each: str(each) for each in vars(torch).values() if isinstance(each, torch.dtype)}
"""Kinds of numbers as text."""

Form = tuple[torch.Size, torch.dtype]
"""Shape and kind of number of a tensor."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Tensors that travel as one message."""

    dtype: torch.dtype  # their kind of number
    shapes: Mapping[str, torch.Size]  # by name

    @property
    def lengths(self) -> list[int]:
        """Entries of each tensor."""
        return [shape.numel() for shape in self.shapes.values()]

    def packed(self, tensors: Mapping[str, Tensor], *, device: torch.device) -> Tensor:
        """One row of numbers; a large tensor is not copied for it."""
        flat = [tensors[name].detach().reshape(-1) for name in self.shapes]
        one = flat[0] if len(flat) == 1 else torch.cat([each.to(flat[0].device) for each in flat])
        return one.to(device)

    def opened(self, row: Tensor) -> dict[str, Tensor]:
        """The tensors again, by name, as views."""
        parts = row.split(self.lengths)
        return {
            name: part.view(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def plain_forms(forms: Mapping[str, Form]) -> dict[str, tuple[list[int], str]]:
    """Forms as text can hold them."""
    return {name: (list(shape), _NAMES[dtype]) for name, (shape, dtype) in forms.items()}


def read_forms(plain: Mapping[str, tuple[list[int], str]]) -> dict[str, Form]:
    """The inverse of `plain_forms`."""
    dtypes = {word: dtype for dtype, word in _NAMES.items()}
    return {name: (torch.Size(shape), dtypes[word]) for name, (shape, word) in plain.items()}


def common(sender: Mapping[str, Form], receiver: Mapping[str, Form]) -> dict[str, Form]:
    """What the sender has and the receiver can use: the sender's forms, in its order."""
    return {
        name: (shape, dtype)
        for name, (shape, dtype) in sender.items()
        if name in receiver
        and receiver[name][0] == shape
        # Another precision can be blended, a counter with a weight cannot.
        and receiver[name][1].is_floating_point == dtype.is_floating_point
    }


def parcels(forms: Mapping[str, Form]) -> list[Parcel]:
    """Large tensors alone, small ones together by their kind of number.

    Returns:
        The messages, in an order that is the same on both sides.
    """
    found: list[Parcel] = []
    small: dict[torch.dtype, dict[str, torch.Size]] = {}
    for name, (shape, dtype) in forms.items():
        # Both sides work this out from the sender's forms in the sender's order: in its own order a receiver would open
        # parcels as other tensors of the same size.
        if shape.numel() < _SMALL:
            small.setdefault(dtype, {})[name] = shape
        else:
            found.append(Parcel(dtype=dtype, shapes={name: shape}))
    return [*found, *(Parcel(dtype=dtype, shapes=shapes) for dtype, shapes in small.items())]
