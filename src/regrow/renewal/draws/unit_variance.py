"""UnitVariance: a filter whose sums have a standard deviation of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Mask
from regrow.draw import Key
from regrow.renewal.base import Layer, Tensors
from regrow.renewal.draws.base import Draw, Drawn, fresh_rows, responses


@final
@dataclass(frozen=True, kw_only=True)
class UnitVariance(Draw):
    """What the layer's initialiser draws, scaled so that on the batch its sums have a standard deviation of 1.

        w  <-  w / std over batch and positions of (w * h)

    Edge cases:
        A filter that gives one value on the whole batch keeps the length that it was drawn with.

    Source:
        Mishkin, Matas 2016, "All you need is a good init" (LSUV), https://arxiv.org/abs/1511.06422, for single filters.
    """

    @property
    def needs_batch(self) -> bool:
        """For the spread."""
        return True

    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """Drawn and scaled.

        Args:
            layer: With what it gives on the batch.
            mask: (O,), True = marked.
            params: Parameters by name.
            key: For the initialiser.

        Returns:
            The rows.
        """
        drawn = fresh_rows(layer, mask, params=params, key=key)
        given = responses(layer, mask, drawn, params=params, what="UnitVariance()")
        exact = torch.float32 if given.device.type == "mps" else torch.float64
        wide = given.to(exact)
        spread = wide.std(1, correction=0)
        # A constant has the spread of its rounding.
        none = spread <= 16 * torch.finfo(given.dtype).eps * wide.abs().amax(1)
        scaled = drawn.to(exact) / spread.masked_fill(none, 1.0)[:, None]
        return Drawn(rows=scaled.to(drawn.dtype))
