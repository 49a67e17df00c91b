"""FirstValues: a filter begins again as it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from regrow._shapes import Mask
from regrow.draw import Key
from regrow.errors import ConfigError
from regrow.graph.slices import rows
from regrow.renewal.base import Layer, Need, Tensors
from regrow.renewal.draws.base import Draw, Drawn


@final
@dataclass(frozen=True, kw_only=True)
class FirstValues(Draw):
    """The weights and the bias that the filter itself had when the recipe was attached.

    A filter that learnt once can learn again from there, and the filters of a layer stay the ones that were drawn
    together. Costs a copy of the layers' weights, which is saved with the state.

    Edge cases:
        A filter that was dead from the beginning is dead again.

    Source:
        Kumar, Marklund, Van Roy, "Maintaining Plasticity in Continual Learning via Regenerative Regularization",
        2023, https://arxiv.org/abs/2308.11958: towards the first values, not towards new ones.
    """

    gives_bias = True  # its first one
    needs = frozenset({Need.FIRST})  # the first values, which are what is drawn

    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """The first values of all filters: nothing is drawn. A ConfigError where they are not known."""
        del mask, key
        filters = layer.filters
        if layer.first is None:
            raise ConfigError(
                f"draw=FirstValues() needs the values that the layer began with, and they are not known "
                f"({filters.path})"
            )
        weight = params[filters.weight]
        bias = None if filters.bias is None else layer.first[filters.bias].to(weight.device)
        return Drawn(rows=rows(layer.first[filters.weight].to(weight.device), filters), bias=bias)
