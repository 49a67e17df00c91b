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
from regrow.renewal.base import Edit, Layer, Respond, Tensors


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
    """What marked filters become. Inherit from it: then only `draw` is to be written."""

    @property
    def gives_bias(self) -> bool:
        """Whether the bias is a part of what is drawn."""
        return False

    @property
    def needs_first(self) -> bool:
        """Whether the layer's own first values must be known (`Layer.first`)."""
        return False

    @property
    def needs_batch(self) -> bool:
        """Whether it must be known what the layer gives on a batch (`Layer.respond`)."""
        return False

    @property
    def needs_homogeneous(self) -> bool:
        """Whether it must be known what lies between the layer and its readers (`Layer.homogeneous`)."""
        return False

    @property
    def writes_readers(self) -> bool:
        """Whether the weights that read the filters are a part of what is drawn."""
        return False

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


def responses(layer: Layer, mask: Mask, drawn: Tensor, *, params: Tensors, what: str) -> Tensor:
    """What the layer would give on the batch with drawn rows for the marked filters, (O, n), without its bias."""
    filters = layer.filters
    respond: Respond | None = layer.respond
    if respond is None:
        raise ConfigError(
            f"draw={what} needs what the layer gives on a batch, and nothing was measured ({filters.path})"
        )
    present = rows(params[filters.weight].detach(), filters)
    return respond(unrows(torch.where(mask[:, None], drawn, present), filters))
