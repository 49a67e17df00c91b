"""Centred: a unit that fires on about half of what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch

from regrow._shapes import Mask
from regrow.draw import Key
from regrow.draw.keys import normal_rows
from regrow.graph.slices import rows
from regrow.renewal.base import Layer, Need, Tensors
from regrow.renewal.draws.base import Draw, Drawn, sums


@final
@dataclass(frozen=True, kw_only=True)
class Centred(Draw):
    """Weights as for ReLU networks, and a bias that takes the mean away.

        w  ~  Normal(0, 2 / fan_in),      bias  <-  - mean over batch and positions of (w * h)

    h what the layer heard in the newest training pass, of all ranks, with renewed filters of the layers in front of it.
    A filter that was drawn without regard to its inputs may be dead at birth, on all of them: inputs that are not
    centred give the same sign to all its sums.

    Edge cases:
        A layer without a bias (in front of a norm, which does the same) has weights alone. In a layer to which no
        example came, or numbers that are not finite, the bias is 0. fan_in: numbers of one filter.

    Source:
        He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, equation 10, for the weights. The bias is
        half of a data-dependent initialisation (Salimans, Kingma 2016, Section 3, https://arxiv.org/abs/1602.07868).
    """

    gives_bias = True  # minus the mean
    needs = frozenset({Need.HEARD})  # what the layer heard, for the mean

    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """Drawn and centred."""
        present = rows(params[layer.filters.weight].detach(), layer.filters)
        wanted = mask.nonzero()[:, 0]
        count = present.shape[1]
        noise = normal_rows(key, filters=wanted, count=count) * math.sqrt(2.0 / count)
        drawn = torch.zeros_like(present)
        drawn[wanted] = noise.to(present.device, present.dtype)
        if layer.filters.bias is None:
            return Drawn(rows=drawn)
        mean = sums(layer, mask, drawn, params=params, what="Centred()").mean
        return Drawn(rows=drawn, bias=-mean.to(params[layer.filters.bias].dtype))
