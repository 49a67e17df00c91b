"""UnitVariance: a filter whose sums have a standard deviation of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Mask
from regrow.draw import Key
from regrow.renewal.base import Layer, Need, Tensors
from regrow.renewal.draws.base import Draw, Drawn, fresh_rows, sums


@final
@dataclass(frozen=True, kw_only=True)
class UnitVariance(Draw):
    """What the layer's initialiser draws, scaled so that on the batch its sums have a standard deviation of 1.

        w  <-  w / std over batch and positions of (w * h)

    h as for `Centred`.

    Edge cases:
        A filter that gives one value on the whole batch keeps the length that it was drawn with, and so does one of a
        layer to which no example came, or numbers that are not finite.

    Source:
        Mishkin, Matas 2016, "All you need is a good init" (LSUV), https://arxiv.org/abs/1511.06422, for single filters.
    """

    needs = frozenset({Need.HEARD})  # what the layer heard, for the spread

    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """Drawn and scaled."""
        drawn = fresh_rows(layer, mask, params=params, key=key)
        given = sums(layer, mask, drawn, params=params, what="UnitVariance()")
        # A constant has the spread of its rounding.
        none = given.spread <= 16 * torch.finfo(drawn.dtype).eps * given.mean.abs()
        scaled = drawn.cpu().double() / given.spread.masked_fill(none, 1.0)[:, None]
        return Drawn(rows=scaled.to(drawn))
