"""What a renewed filter is: the one thing in which draws differ."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from regrow._shapes import Mask
from regrow.draw import Key, draw_rows
from regrow.errors import ConfigError
from regrow.graph.slices import rows, unrows
from regrow.renewal.base import NOTHING, Edit, Layer, Need, Sums, Tensors


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """New values for the marked filters of a layer.

    Attributes:
        rows: (O, F), of which the marked rows are used.
        bias: (O,), of which the marked entries are used; None: as the renewal says.
        around: What else must be written for the filters to be what they are meant to be.
    """

    rows: Tensor
    bias: Tensor | None = None
    around: tuple[Edit, ...] = ()


@runtime_checkable
class Draw(Protocol):
    """What marked filters become. Inherit from it: then only `draw` is to be written.

    Attributes:
        gives_bias: Whether the bias is a part of what is drawn.
        needs: What must be known of a layer: `Layer.first`, `Layer.heard` and `Layer.obstacle`.
        writes_readers: Whether the weights that read the filters are a part of what is drawn.
    """

    gives_bias: bool = False
    needs: frozenset[Need] = NOTHING
    writes_readers: bool = False

    def check(self, layer: Layer) -> None:
        """Refuse, before training starts, a layer for which it cannot draw."""
        del layer

    @abstractmethod
    def draw(self, layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Drawn:
        """New values for the marked filters. Pure: `params` is read, never written.

        Args:
            layer: Where the filters live, and what is known of the layer.
            mask: (O,), True = marked.
            params: Parameters and buffers by name.
            key: Who asks for random numbers.

        Returns:
            They.
        """


def fresh_rows(layer: Layer, mask: Mask, *, params: Tensors, key: Key) -> Tensor:
    """Rows from the layer's initialiser for the marked filters, and 0 for the others, (O, F)."""
    return draw_rows(
        layer.initialiser,
        key=key,
        weight=params[layer.filters.weight].detach(),
        mask=mask,
        to_rows=partial(rows, filters=layer.filters),
    )


def sums(layer: Layer, mask: Mask, drawn: Tensor, *, params: Tensors, what: str) -> Sums:
    """What the layer would make of what it heard with drawn rows for the marked filters; 0 where it is not finite."""
    filters = layer.filters
    if layer.heard is None:
        raise ConfigError(
            f"draw={what} needs what the layer heard in the newest training pass, and it is not known ({filters.path})"
        )
    present = rows(params[filters.weight].detach(), filters)
    found = layer.heard.sums(unrows(torch.where(mask[:, None], drawn, present), filters), mask)
    # A network that has just blown up must not hand its infinities to a filter that is well.
    finite = found.mean.isfinite() & found.spread.isfinite()
    return Sums(mean=found.mean.where(finite, 0.0), spread=found.spread.where(finite, 0.0))
