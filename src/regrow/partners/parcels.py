"""What travels together between partners: tensors by their form, large ones alone and small ones in one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import torch
from torch import Tensor

_SMALL: Final = 1 << 16
"""Tensors with fewer entries travel together: each message has a price of its own."""


class Form(NamedTuple):
    """What a tensor is like."""

    shape: torch.Size
    dtype: torch.dtype  # kind of number


Formed = TypeVar("Formed", Form, Tensor)


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


def common(sender: Mapping[str, Formed], receiver: Mapping[str, Formed]) -> dict[str, Formed]:
    """What the sender has and the receiver can use, in the sender's order."""
    return {
        name: each
        for name, each in sender.items()
        if name in receiver
        and receiver[name].shape == each.shape
        # Another precision can be blended, a counter with a weight cannot.
        and receiver[name].dtype.is_floating_point == each.dtype.is_floating_point
    }


def parcels(forms: Mapping[str, Form]) -> list[Parcel]:
    """The messages, in an order that is the same on both sides: large tensors alone, small ones by their kind."""
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
