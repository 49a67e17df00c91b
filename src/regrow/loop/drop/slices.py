"""A few slices of a tensor, which are read and written much faster than the whole tensor under a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Some slices of a tensor: along one axis, or, with two lists of indices, along the first two together."""

    axis: int  # which, with one list
    index: Tensor  # along this axis, or along the first of two
    second: Tensor | None = None  # along the second of two
    _kept: dict[tuple[torch.device, torch.dtype], Tensor] = field(
        default_factory=dict[tuple[torch.device, torch.dtype], Tensor], repr=False, compare=False
    )

    @classmethod
    def of(cls, mask: Tensor) -> Part:
        """Turn a mask into slices."""
        wide = [axis for axis, size in enumerate(mask.shape) if size > 1]
        if len(wide) > 1:
            pairs = mask.flatten(2)[..., 0].nonzero()
            return cls(0, pairs[:, 0], pairs[:, 1])
        return cls(wide[0] if wide else 0, mask.flatten().nonzero()[:, 0])

    def read(self, tensor: Tensor) -> Tensor:
        """Copy the slices."""
        index = self.index.to(tensor.device)
        if self.second is None:
            return tensor.index_select(self.axis, index)
        return tensor[index, self.second.to(tensor.device)]

    def write_(self, tensor: Tensor, values: Tensor) -> None:
        """Put slices back."""
        index = self.index.to(tensor.device)
        if self.second is None:
            tensor.index_copy_(self.axis, index, values)
        else:
            tensor[index, self.second.to(tensor.device)] = values

    def fill_(self, tensor: Tensor, value: float) -> None:
        """Set the slices to a number."""
        index = self.index.to(tensor.device)
        if self.second is None:
            tensor.index_fill_(self.axis, index, value)
        else:
            tensor[index, self.second.to(tensor.device)] = value

    def clear_(self, gradient: Tensor) -> None:
        """Set the slices of a gradient to 0, in every step of a training: as fast as can be."""
        pixels = math.prod(gradient.shape[2:])
        if self.second is not None or self.axis == 0 or pixels > 1:
            self.fill_(gradient, 0.0)
            return
        keep = self._kept.get((gradient.device, gradient.dtype))
        if keep is None:
            keep = gradient.new_ones(gradient.shape[1]).index_fill_(
                0, self.index.to(gradient.device), 0.0
            )
            keep = keep.reshape(1, -1, *(1,) * (gradient.ndim - 2))
            self._kept[gradient.device, gradient.dtype] = keep
        # Faster than a scattered write. What is not finite stays so: then the step is lost anyway.
        gradient.mul_(keep)


def parts_of(mask: Tensor) -> list[Part]:
    """Turn a mask of a tensor's shape into slices."""
    spatial = (1,) * (mask.ndim - 2)
    rows = mask.flatten(1).all(1) if mask.ndim > 1 else mask
    found = [Part(0, rows.nonzero()[:, 0])] if bool(rows.any()) else []
    if mask.ndim == 1 or bool((mask.flatten(1).any(1) == rows).all()):
        return found
    left = mask[~rows]
    columns = left.transpose(0, 1).flatten(1).all(1)
    if bool((left.transpose(0, 1).flatten(1).any(1) == columns).all()):
        return [*found, Part(1, columns.nonzero()[:, 0])]
    rest = mask & ~rows.reshape(-1, 1, *spatial)
    return [*found, Part.of(rest.flatten(2)[..., :1].reshape(*mask.shape[:2], *spatial))]
