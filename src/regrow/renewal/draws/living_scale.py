"""LivingScale: a new direction, as long as the filters beside it have become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from regrow._checks import check_positive
from regrow._shapes import Mask
from regrow.draw import Key
from regrow.graph.slices import rows
from regrow.renewal.base import Layer, Tensors
from regrow.renewal.draws.base import Draw, Drawn, fresh_rows


@final
@dataclass(frozen=True, kw_only=True)
class LivingScale(Draw):
    """What the layer's initialiser draws, scaled to the mean length of the filters that stay.

        w  <-  w * factor * mean over living u of norm(w_u) / norm(w)

    Args:
        factor: Of the living filters' mean length, above 0.

    Raises:
        ConfigError: A factor that is not above 0.

    Edge cases:
        Living filters of length 0 or not finite do not count; without any: as the initialiser drew it. Bias and norm
        entries are the renewal's affair.

    Source:
        Sokar et al., "The Dormant Neuron Phenomenon", ICML 2023, figure 23 (no difference there to the plain draw);
        with factor 0.2 as sparse autoencoders revive their latents.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.factor, name="factor", where="living scale")

    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """Drawn and scaled."""
        drawn = fresh_rows(layer, mask, params=params, key=key)
        present = rows(params[layer.filters.weight].detach(), layer.filters)
        wide = torch.promote_types(present.dtype, torch.float32)
        lengths = torch.linalg.vector_norm(present[~mask], dim=-1, dtype=wide)
        living = lengths[(lengths > 0) & lengths.isfinite()]
        if not len(living):
            return Drawn(rows=drawn)
        own = torch.linalg.vector_norm(drawn, dim=-1, keepdim=True, dtype=wide)
        factors = self.factor * living.mean() / own.masked_fill(own == 0, 1.0)
        return Drawn(rows=(drawn.to(wide) * factors).to(drawn.dtype))
