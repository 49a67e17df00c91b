"""Where a layer's filters live in a model: by parameter name and module path, never by position."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LayerKind = Literal["conv", "conv_transpose", "linear"]


@dataclass(frozen=True, kw_only=True)
class Norm:
    """The entries of one normalisation layer that belong to a layer's filters.

    Attributes:
        path: Module path, such as ``layer1.0.bn1``.
        kind: ``batch_norm``, ``group_norm``, ``instance_norm`` or ``layer_norm``.
        weight: Parameter name of the scale, or None.
        bias: Parameter name of the shift, or None.
        running_mean: Buffer name, or None.
        running_var: Buffer name, or None.
        channels: For each filter the entries that see this filter and no other, usually one. An empty tuple where the
            entry is shared with another writer (after a skip connection, say).
    """

    path: str
    kind: str
    weight: str | None
    bias: str | None
    running_mean: str | None
    running_var: str | None
    channels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A later layer whose weights multiply what these filters write.

    Attributes:
        path: Module path of the reading layer.
        kind: What the reading layer is.
        weight: Its weight's parameter name.
        groups: Its number of groups.
        channels: For each filter the input channels (linear: input features) that depend on it, counted over all
            groups.
        alone: For each filter, one flag a channel: True where the channel depends on this filter and on nothing else
            that could be silenced with it: no other filter, not the model's input, no added parameter that changes
            over positions (a bias or a scale, one number a channel, is the channel's own).
        standardised: The layer multiplies by what it works out from its weight, filter by filter (weight
            standardisation). Entries that are set to zero do not silence it there.
    """

    path: str
    kind: LayerKind
    weight: str
    groups: int
    channels: tuple[tuple[int, ...], ...]
    alone: tuple[tuple[bool, ...], ...]
    standardised: bool = False


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters of one layer: their weights, their norm entries and who reads them.

    Attributes:
        path: Module path of the layer, such as ``layer1.0.conv1``.
        kind: ``conv``, ``conv_transpose`` or ``linear``.
        count: Number of filters (output channels or output units), O.
        weight: Parameter name of the weight.
        bias: Parameter name of the bias, or None.
        weight_shape: Shape of the weight.
        groups: Groups of the convolution; 1 for linear layers.
        norms: Norm entries that belong to these filters.
        shared_norms: Norm entries that see these filters together with others (behind a sum, say): the same, with those
            entries as `channels`.
        readers: Who reads them.
        is_head: The filters are (part of) the model's output: never renewed.
        coupled: Why the filters share a stream with other writers, or are mixed with other channels; "" where they
            are not.
        mixed: The operations that bring this layer's own filters together (normalisation over channels, attention):
            behind them a channel depends on several or all of them. "" where there is none. Part of `coupled`.
        multiplied: What the filters are multiplied with before they are read: layers by module path (this one itself
            where its filters are multiplied with each other), and labels of what is no filter.
        foreign: For each filter whether something that no filter made (the model's input, a position embedding, what a
            refused operation gives) shares a channel of a reader or an entry of a norm with it; () = with none.
        refused: Why their readers cannot be known, with the operation that stopped the trace; "" where they are.
        initialiser: The layer class's own initialiser, as a name that `regrow.draw` knows (``torch_default``).
    """

    path: str
    kind: LayerKind
    count: int
    weight: str
    bias: str | None
    weight_shape: tuple[int, ...]
    groups: int = 1
    norms: tuple[Norm, ...] = ()
    shared_norms: tuple[Norm, ...] = ()
    readers: tuple[Reader, ...] = ()
    is_head: bool = False
    coupled: str = ""
    mixed: str = ""
    multiplied: tuple[str, ...] = ()
    foreign: tuple[bool, ...] = ()
    refused: str = ""
    initialiser: str = field(default="torch_default")
