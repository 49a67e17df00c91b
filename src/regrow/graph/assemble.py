"""From what a trace wrote down to a wiring: every layer's filters, norms and readers by name.

Called by `graph/trace.py` once a model, when both runs are over: it reads the `Record` and gives the `Wiring`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

from regrow.graph.filters import Filters, Norm, Reader
from regrow.graph.meetings import Reason
from regrow.graph.offsets import heard
from regrow.graph.record import Record
from regrow.graph.remarks import left_out, listed, named_layers, untraced, way_out
from regrow.graph.users import User, others, with_several
from regrow.graph.weights import path_of
from regrow.graph.wiring import Wiring

_UNREAD: Final = "no layer reads it on this example, and it is not in the output"

_Run = tuple[tuple[int, ...], tuple[bool, ...]]
"""Channels with the same set, and for each whether it holds one filter only."""

_ChannelRuns = dict[int, dict[int, list[_Run]]]
"""By layer number and filter."""


def assemble(
    model: nn.Module,
    record: Record,
    outputs: Sequence[Tensor],
    *,
    apart: Mapping[str, str] = MappingProxyType({}),
) -> Wiring:
    """Turn a finished trace into a wiring.

    Args:
        apart: By weight, why evaluation and training do not use it alike: such layers are left alone.
    """
    table = record.table
    readers: dict[int, list[Reader]] = {}
    foreign: dict[int, set[int]] = {}
    for layer in record.layers:
        path = path_of(layer.weight)
        why = Reason("read together", f"'{path}'")
        # Over all calls of the layer: one that is called on two activations reads both in each channel, and neither
        # alone.
        found = _by_filter(record, [table.union(names, why) for names in layer.reads], foreign)
        for writer, by_filter in found.items():
            channels, alone = _columns(by_filter, len(record.layers[writer].names))
            readers.setdefault(writer, []).append(
                Reader(
                    path=path,
                    kind=layer.kind,
                    weight=layer.weight,
                    groups=layer.groups,
                    channels=channels,
                    alone=alone,
                    standardised=layer.standardised,
                    columns=layer.columns,
                )
            )
    # With one example they look like batch normalisation from inside.
    instance_norms = {
        path for path, module in model.named_modules() if isinstance(module, _InstanceNorm)
    }
    norms: dict[int, list[Norm]] = {}
    shared_norms: dict[int, list[Norm]] = {}
    for path, norm in record.norms.items():
        found = _by_filter(record, [table.union(names) for names in norm.seen], foreign)
        for writer, by_filter in found.items():
            channels, alone = _columns(by_filter, len(record.layers[writer].names))
            # An entry that sees one filter goes with it. One behind a sum is nobody's: set to its fresh value for one
            # writer, it would change what the others give.
            for into, single in ((norms, True), (shared_norms, False)):
                entries = _flagged(channels, alone, single)
                if any(entries):
                    into.setdefault(writer, []).append(
                        Norm(
                            path=path,
                            kind="instance_norm" if path in instance_norms else norm.kind,
                            weight=norm.tensors.get("weight"),
                            bias=norm.tensors.get("bias"),
                            running_mean=norm.tensors.get("running_mean"),
                            running_var=norm.tensors.get("running_var"),
                            channels=entries,
                            declared=norm.declared,
                        )
                    )
    heads: set[int] = set()
    for tensor in outputs:
        # Whatever comes into the output makes a head, also a part of it in an object's attribute: renewed, the head
        # would begin its answers anew.
        heads |= table.layers_of(record.behind(tensor))
    read = heads | table.layers_of(
        name for layer in record.layers for seen in layer.reads for name in seen
    )
    shared = _shared(record, outputs)
    layers = tuple(
        _filters(
            record,
            number,
            readers=tuple(readers.get(number, ())),
            norms=tuple(norms.get(number, ())),
            shared_norms=tuple(shared_norms.get(number, ())),
            foreign=foreign.get(number, set()),
            is_head=number in heads,
            unread=number not in read,
            shared=shared,
        )
        for number in range(len(record.layers))
    )
    # Layers by their numbers in the record, before any is taken out.
    offsets = heard(record, Wiring(layers=layers))
    layers = tuple(replace(layer, offset=offsets.get(layer.path, "")) for layer in layers)
    alone = {layer.path: apart[layer.weight] for layer in layers if layer.weight in apart}
    layers = tuple(_without(layer, alone) for layer in layers if layer.path not in alone)
    remarks = (
        *record.stops,
        *(
            f"{path} is not the same layer in training mode as in evaluation mode ({why}): left alone, as by "
            f"exclude=['{path}']"
            for path, why in alone.items()
        ),
        *left_out(record, named_layers(model)),
        *way_out(layers, shared),
    )
    written = dict.fromkeys(name for layer in layers for name in _written(layer))
    return Wiring(
        layers=layers,
        remarks=remarks,
        untraced=tuple(dict.fromkeys((*alone, *untraced(model, record)))),
        shared={
            alias: shared[name]
            for name in written
            if name in shared
            for alias in _aliases(model, record, name)
        },
    )


def _without(layer: Filters, alone: Container[str]) -> Filters:
    """A layer as it is where some of those that read it are left alone: they keep their slices."""
    kept = tuple(each for each in layer.readers if each.path not in alone)
    if len(kept) == len(layer.readers):
        return layer
    gone = next(each.path for each in layer.readers if each.path in alone)
    return replace(
        layer, readers=kept, refused=layer.refused or f"'{gone}', which is left alone, reads it"
    )


def _aliases(model: nn.Module, record: Record, name: str) -> list[str]:
    """All names of a tensor, and of those that lie in its memory."""
    ledger = record.ledger
    # By identity and memory. A user may ask for a tied weight by any of its names, and the trace has only the first.
    there = {id(ledger.tensors[each]) for each in ledger.overlaps.get(name, (name,))}
    return [
        each
        for each, tensor in (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        )
        if id(tensor) in there
    ]


def _shared(record: Record, outputs: Iterable[Tensor]) -> Mapping[str, tuple[str, ...]]:
    """Who uses the tensors that have several users, in either mode or as a part of the output."""
    for tensor in outputs:
        # A weight that the model itself returns has a reader that is not seen: what happens outside with it.
        for name in record.ledger.owners(tensor):
            record.users.setdefault(name, {})[User("", "the model's output")] = None
    return with_several(record.users, record.ledger.overlaps)


def _written(layer: Filters) -> Iterator[str]:
    """The names of the tensors that a renewal of some layer may write to."""
    yield layer.weight
    yield from (layer.bias,) if layer.bias is not None else ()
    for norm in (*layer.norms, *layer.shared_norms):
        yield from (each.name for each in norm.tensors)


def _filters(
    record: Record,
    number: int,
    *,
    readers: tuple[Reader, ...],
    norms: tuple[Norm, ...],
    shared_norms: tuple[Norm, ...],
    foreign: Set[int],
    is_head: bool,
    unread: bool,
    shared: Mapping[str, Sequence[str]],
) -> Filters:
    layer = record.layers[number]
    shape = tuple(record.ledger.tensors[layer.weight].shape)
    refused = record.refused.get(number, "")
    if not refused and layer.weight in shared:
        refused = f"{others(shared[layer.weight], path_of(layer.weight))} uses its weight too"
    if not refused and unread:
        refused = _UNREAD
    biases, biased = tuple(layer.biases), tuple(layer.biased)
    # A weight that is called with two biases has none that is only its own. Set to 0 for a renewed filter, one of them
    # would still add the other: `biased` says so, and the filter is never taken to give 0.
    bias = biases[0] if len(biases) == 1 and not biased else None
    mixed = _mixing(record, number)
    return Filters(
        path=path_of(layer.weight),
        kind=layer.kind,
        count=len(layer.names),
        weight=layer.weight,
        bias=bias,
        weight_shape=shape,
        groups=layer.groups,
        norms=norms,
        shared_norms=shared_norms,
        readers=readers,
        is_head=is_head,
        unread=unread,
        coupled="; ".join(each for each in (_coupling(record, number, readers), mixed) if each),
        mixed=mixed,
        multiplied=_multiplied(record, number),
        foreign=tuple(unit in foreign for unit in range(len(layer.names))) if foreign else (),
        refused=refused,
        biased=() if bias is not None else (*biases, *biased),
        columns=layer.columns,
    )


def _by_filter(
    record: Record, channels: Sequence[int], foreign: dict[int, set[int]]
) -> _ChannelRuns:
    """Turn "the set on each channel" round: the channels of each filter.

    Channels with the same set are handled together: behind a mixing operation all of them have it, and it is large.
    Filters that share a channel with what is no filter are added to `foreign`.
    """
    with_set: dict[int, list[int]] = {}
    for channel, name in enumerate(map(record.table.plain, channels)):
        if name:
            with_set.setdefault(name, []).append(channel)
    found: _ChannelRuns = {}
    for name, members in with_set.items():
        alone = record.table.size(name) == 1
        pure = record.table.is_pure(name)
        # One tuple for all filters of the set, and handed on as it is: `streams_of` knows it again by its identity.
        # Copies would make a LayerNorm over 768 channels a matter of 768 x 768 entries.
        run = tuple(members), (alone,) * len(members)
        for layer, unit in record.table.filters_of(name):
            found.setdefault(layer, {}).setdefault(unit, []).append(run)
            if not pure:
                foreign.setdefault(layer, set()).add(unit)
    return found


def _columns(
    by_filter: Mapping[int, Sequence[_Run]], count: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[bool, ...], ...]]:
    """Channels and flags, one tuple a filter, in the channels' order."""
    empty: _Run = ((), ())
    merged: list[_Run] = []
    for unit in range(count):
        runs = by_filter.get(unit, ())
        # The tuple itself, not a sorted copy of it: see `_by_filter`.
        if len(runs) < 2:
            merged.append(runs[0] if runs else empty)
            continue
        pairs = sorted(pair for run in runs for pair in zip(*run, strict=True))
        merged.append((tuple(channel for channel, _ in pairs), tuple(flag for _, flag in pairs)))
    return tuple(run[0] for run in merged), tuple(run[1] for run in merged)


def _flagged(
    channels: Sequence[tuple[int, ...]], alone: Sequence[tuple[bool, ...]], wanted: bool
) -> tuple[tuple[int, ...], ...]:
    """Of each filter's channels those with the wanted flag; the (long) lists themselves where all have it."""
    return tuple(
        entries
        if all(flag is wanted for flag in flags)
        else tuple(c for c, flag in zip(entries, flags, strict=True) if flag is wanted)
        for entries, flags in zip(channels, alone, strict=True)
    )


def _coupling(record: Record, number: int, readers: Sequence[Reader]) -> str:
    """What a layer's filters share their readers' channels with: filters of others, and what is none; "" = nothing."""
    if all(flag for reader in readers for flags in reader.alone for flag in flags):
        return ""
    by_verb: dict[str, list[int | str]] = {}
    for verb, other in record.table.meetings.partners.get(number, {}):
        by_verb.setdefault(verb, []).append(other)
    reasons: list[str] = []
    for verb, partners in by_verb.items():
        others = [
            other if isinstance(other, str) else path_of(record.layers[other].weight)
            for other in sorted(partners, key=lambda each: not isinstance(each, str))
            if other != number
        ]
        reasons.append(f"{verb} with {listed(others) if others else 'each other'}")
    return "; ".join(reasons)


def _multiplied(record: Record, number: int) -> tuple[str, ...]:
    """What a layer's filters are multiplied with, by name."""
    return tuple(
        other if isinstance(other, str) else path_of(record.layers[other].weight)
        for verb, other in record.table.meetings.partners.get(number, {})
        if verb == "multiplied"
    )


def _mixing(record: Record, number: int) -> str:
    """The operations that bring a layer's own filters together; "" for none."""
    groups = (record.table.meetings.mixed.get(number, ()), record.statistics.get(number, ()))
    return "; ".join(listed(list(each)) for each in groups if each)
