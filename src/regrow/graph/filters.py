"""Where a layer's filters live in a model: by parameter name and module path, never by position.

Made by `graph/assemble.py`, or by hand. All that acts on filters (renewals, surgery, grafting) finds their tensors by
these records.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

LayerKind = Literal["conv", "conv_transpose", "linear"]


NORM_TENSORS: Final = {
    "weight": (1.0, True),
    "bias": (0.0, True),
    "running_mean": (0.0, False),
    "running_var": (1.0, False),
}
"""Of torch's norms, by name: what a fresh channel's entry holds, and whether it is a parameter."""

_ATTENTION: Final = ("attention", "bmm", "matmul", "softmax")
"""Operations of attention, in which units of a layer are mixed with each other."""


@dataclass(frozen=True, kw_only=True)
class NormTensor:
    """One tensor of a normalisation layer, with one entry a channel.

    Attributes:
        name: Parameter or buffer name.
        fresh: What the entry of a fresh channel holds: a number, or the name of the model's tensor of one number that
            says it.
        is_parameter: Not a buffer.
    """

    name: str
    fresh: float | str
    is_parameter: bool


@dataclass(frozen=True, kw_only=True)
class Norm:
    """The entries of one normalisation layer that belong to a layer's filters.

    Attributes:
        path: Module path, such as ``layer1.0.bn1``.
        kind: ``batch_norm``, ``group_norm``, ``instance_norm``, ``layer_norm``, or the class of a layer that says of
            its tensors what they are (`declared`).
        weight: Parameter name of the scale, or None.
        bias: Parameter name of the shift, or None.
        running_mean: Buffer name, or None.
        running_var: Buffer name, or None.
        channels: For each filter the entries that see this filter and no other, usually one. An empty tuple where the
            entry is shared with another writer (after a skip connection, say).
        declared: What the layer itself says of its tensors (`regrow.graph.ChannelNorm`), in the place of torch's four.
    """

    path: str
    kind: str
    weight: str | None
    bias: str | None
    running_mean: str | None
    running_var: str | None
    channels: tuple[tuple[int, ...], ...]
    declared: tuple[NormTensor, ...] = ()

    @cached_property
    def tensors(self) -> tuple[NormTensor, ...]:
        """All of its tensors that have an entry a channel."""
        return self.declared or tuple(
            NormTensor(name=name, fresh=fresh, is_parameter=is_parameter)
            for field, (fresh, is_parameter) in NORM_TENSORS.items()
            if (name := getattr(self, field)) is not None
        )

    def without(self, names: Set[str]) -> Norm:
        """The same norm, as if it had not some of its tensors."""
        gone = dict.fromkeys(field for field in NORM_TENSORS if getattr(self, field) in names)
        declared = tuple(each for each in self.declared if each.name not in names)
        return replace(self, **gone, declared=declared)


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
        columns: A linear layer with its filters as columns (see `Filters`).
    """

    path: str
    kind: LayerKind
    weight: str
    groups: int
    channels: tuple[tuple[int, ...], ...]
    alone: tuple[tuple[bool, ...], ...]
    standardised: bool = False
    columns: bool = False

    @cached_property
    def inputs_first(self) -> bool:
        """Whether the first axis of its weight counts inputs: (I, O/groups, *K) instead of (O, I/groups, *K)."""
        return self.columns or self.kind == "conv_transpose"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters of one layer: their weights, their norm entries and who reads them.

    Attributes:
        path: Module path of the layer, such as ``layer1.0.conv1``.
        kind: ``conv``, ``conv_transpose`` or ``linear``.
        count: Number of filters (output channels or output units), O.
        weight: Parameter name of the weight.
        bias: Parameter name of the bias, or None.
        biased: What is added in the place of a bias and is not this layer's own, one number a filter: the biases of a
            weight that is called with several, and what is computed. Filters whose weights are 0 give that.
        weight_shape: Shape of the weight.
        groups: Groups of the convolution; 1 for linear layers.
        norms: Norm entries that belong to these filters.
        shared_norms: Norm entries that see these filters together with others (behind a sum, say): the same, with those
            entries as `channels`.
        readers: Who reads them.
        is_head: The filters are (part of) the model's output: never renewed.
        unread: No layer read any of these filters in the traced runs, and they are not in the output: perhaps a head
            whose output the example does not show. Renewed only where a pattern names the layer.
        coupled: Why the filters share a stream with other writers, or are mixed with other channels; "" where they
            are not.
        mixed: The operations that bring this layer's own filters together (normalisation over channels, attention):
            behind them a channel depends on several or all of them. "" where there is none. Part of `coupled`.
        multiplied: What the filters are multiplied with before they are read: layers by module path (this one itself
            where its filters are multiplied with each other), and labels of what is no filter.
        foreign: For each filter whether something that no filter made (the model's input, a position embedding, what a
            refused operation gives) shares a channel of a reader or an entry of a norm with it; () = with none.
        offset: The operation that makes something else of their 0 before other filters, or what no filter made, are
            added, and where: filters that give 0 are heard then. "" where they are gone.
        refused: Why their readers cannot be known, with the operation that stopped the trace; "" where they are.
        initialiser: The layer class's own initialiser, as a name that `regrow.draw` knows (``torch_default``).
        columns: Of a linear layer: its weight is (I, O) with a filter a column, as in ``x @ weight``, and not (O, I) as
            in `nn.Linear`.
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
    unread: bool = False
    coupled: str = ""
    mixed: str = ""
    multiplied: tuple[str, ...] = ()
    foreign: tuple[bool, ...] = ()
    offset: str = ""
    refused: str = ""
    biased: tuple[str, ...] = ()
    initialiser: str = field(default="torch_default")
    columns: bool = False

    @cached_property
    def inputs_first(self) -> bool:
        """Whether the first axis of its weight counts inputs: (I, O/groups, *K) instead of (O, I/groups, *K)."""
        return self.columns or self.kind == "conv_transpose"

    @property
    def hidden(self) -> bool:
        """Whether its units are read apart from those of other layers, or as their factors (a gated MLP).

        Not so in a residual stream and in attention, where what a unit means is settled with units of other layers.
        """
        together = any(part.startswith(("summed", "joined")) for part in self.coupled.split("; "))
        # A packed projection (queries, keys and values in one weight) meets nobody but itself.
        return not together and not any(word in self.mixed for word in _ATTENTION)
