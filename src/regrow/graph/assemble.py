"""From what a trace wrote down to a wiring: every layer's filters, norms and readers by name.

Called by `graph/trace.py` once a model, when both runs are over: it reads the `Record` and gives the `Wiring`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import Final

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

from regrow.graph.filters import NORM_TENSORS, Filters, Norm, Reader
from regrow.graph.meetings import Reason
from regrow.graph.offsets import heard
from regrow.graph.record import Record
from regrow.graph.remarks import left_out, listed, named_layers, untraced, way_out
from regrow.graph.slices import flagged
from regrow.graph.users import User, others, with_several
from regrow.graph.weights import path_of
from regrow.graph.wiring import Wiring

_UNREAD: Final = "no layer reads it on this example, and it is not in the output"

_Run = tuple[tuple[int, ...], tuple[bool, ...]]
"""Channels with the same set, and for each whether it holds one filter only."""


@dataclass
class _Around:
    """What was found around the filters of one layer."""

    readers: list[Reader] = field(default_factory=list[Reader])
    norms: list[Norm] = field(default_factory=list[Norm])
    shared_norms: list[Norm] = field(default_factory=list[Norm])
    # Filters that share a channel with what is no filter.
    foreign: set[int] = field(default_factory=set[int])


def assemble(
    model: nn.Module,
    record: Record,
    outputs: Sequence[Tensor],
    *,
    # By weight, why evaluation and training do not use it alike: such layers are left alone.
    apart: Mapping[str, str] = MappingProxyType({}),
) -> Wiring:
    """Turn a finished trace into a wiring."""
    table = record.table
    around: defaultdict[int, _Around] = defaultdict(_Around)
    for layer in record.layers:
        path = path_of(layer.weight)
        why = Reason("read together", f"'{path}'")
        # Over all calls of the layer: one that is called on two activations reads both in each channel, and neither
        # alone.
        seen = [table.union(names, why) for names in layer.reads]
        for writer, channels, alone in _by_filter(record, seen, around):
            writer.readers.append(
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
    for path, norm in record.norms.items():
        kind = "instance_norm" if path in instance_norms else norm.kind
        tensors = {each: norm.tensors.get(each) for each in NORM_TENSORS}
        seen = map(table.union, norm.seen)
        for writer, channels, alone in _by_filter(record, seen, around):
            # An entry that sees one filter goes with it. One behind a sum is nobody's: set to its fresh value for one
            # writer, it would change what the others give.
            for into, single in ((writer.norms, True), (writer.shared_norms, False)):
                entries = flagged(channels, alone, single)
                if any(entries):
                    made = Norm(
                        path=path, kind=kind, channels=entries, declared=norm.declared, **tensors
                    )
                    into.append(made)
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
            around[number],
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
    parameters = model.named_parameters(remove_duplicate=False)
    buffers = model.named_buffers(remove_duplicate=False)
    return [each for each, tensor in chain(parameters, buffers) if id(tensor) in there]


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
    around: _Around,
    *,
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
    units = range(len(layer.names))
    return Filters(
        path=path_of(layer.weight),
        kind=layer.kind,
        count=len(units),
        weight=layer.weight,
        bias=bias,
        weight_shape=shape,
        groups=layer.groups,
        norms=tuple(around.norms),
        shared_norms=tuple(around.shared_norms),
        readers=tuple(around.readers),
        is_head=is_head,
        unread=unread,
        coupled="; ".join(each for each in (_coupling(record, number, around), mixed) if each),
        mixed=mixed,
        multiplied=_multiplied(record, number),
        foreign=tuple(unit in around.foreign for unit in units) if around.foreign else (),
        refused=refused,
        biased=() if bias is not None else (*biases, *biased),
        columns=layer.columns,
    )


def _by_filter(
    record: Record, seen: Iterable[int], around: Mapping[int, _Around]
) -> Iterator[tuple[_Around, tuple[tuple[int, ...], ...], tuple[tuple[bool, ...], ...]]]:
    """Turn "the set on each channel" round: by layer, each filter's channels and flags, in the channels' order."""
    # Channels with the same set together: behind a mixing operation all of them have it, and it is large.
    with_set: dict[int, list[int]] = {}
    for channel, name in enumerate(map(record.table.plain, seen)):
        if name:
            with_set.setdefault(name, []).append(channel)
    found: dict[int, dict[int, list[_Run]]] = {}
    for name, members in with_set.items():
        alone = record.table.size(name) == 1
        pure = record.table.is_pure(name)
        # One tuple for all filters of the set, and handed on as it is: `streams_of` knows it again by its identity.
        # Copies would make a LayerNorm over 768 channels a matter of 768 x 768 entries.
        run = tuple(members), (alone,) * len(members)
        for layer, unit in record.table.filters_of(name):
            found.setdefault(layer, {}).setdefault(unit, []).append(run)
            if not pure:
                around[layer].foreign.add(unit)
    for layer, by_unit in found.items():
        units = range(len(record.layers[layer].names))
        merged = [_merged(by_unit.get(unit, ())) for unit in units]
        yield around[layer], tuple(run[0] for run in merged), tuple(run[1] for run in merged)


def _merged(runs: Sequence[_Run]) -> _Run:
    # The tuple itself, not a sorted copy of it: see `_by_filter`.
    if len(runs) < 2:
        return runs[0] if runs else ((), ())
    pairs = sorted(pair for run in runs for pair in zip(*run, strict=True))
    return tuple(channel for channel, _ in pairs), tuple(flag for _, flag in pairs)


def _coupling(record: Record, number: int, around: _Around) -> str:
    """What a layer's filters share their readers' channels with: filters of others, and what is none; "" = nothing."""
    if all(flag for reader in around.readers for flags in reader.alone for flag in flags):
        return ""
    by_verb: dict[str, list[int | str]] = {}
    for verb, other in record.table.meetings.partners.get(number, {}):
        by_verb.setdefault(verb, []).append(other)
    reasons: list[str] = []
    for verb, partners in by_verb.items():
        labels_first = sorted(partners, key=lambda each: not isinstance(each, str))
        others = [_told(record, other) for other in labels_first if other != number]
        reasons.append(f"{verb} with {listed(others) if others else 'each other'}")
    return "; ".join(reasons)


def _multiplied(record: Record, number: int) -> tuple[str, ...]:
    """What a layer's filters are multiplied with, by name."""
    partners = record.table.meetings.partners.get(number, {})
    return tuple(_told(record, other) for verb, other in partners if verb == "multiplied")


def _told(record: Record, other: int | str) -> str:
    return other if isinstance(other, str) else path_of(record.layers[other].weight)


def _mixing(record: Record, number: int) -> str:
    """The operations that bring a layer's own filters together; "" for none."""
    groups = (record.table.meetings.mixed.get(number, ()), record.statistics.get(number, ()))
    return "; ".join(listed(list(each)) for each in groups if each)
