"""From what a trace wrote down to a wiring: every layer's filters, norms and readers by name."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]  # the base of all convolutions
from torch.nn.modules.instancenorm import _InstanceNorm  # pyright: ignore[reportPrivateUsage]

from regrow.graph.filters import Filters, Norm, Reader
from regrow.graph.offsets import heard
from regrow.graph.record import Record
from regrow.graph.sets import Why
from regrow.graph.users import User, Users, others, with_several
from regrow.graph.weights import path_of
from regrow.graph.wiring import Wiring

_UNREAD: Final = "nothing that was traced reads it, and it is not in the output"
_NAMED_IN_A_NOTE: Final = 2

_Run = tuple[tuple[int, ...], tuple[bool, ...]]
"""Channels with the same set, and for each whether it holds one filter only."""

_Found = dict[int, dict[int, list[_Run]]]
"""By layer number and filter."""


def assemble(
    model: nn.Module, record: Record, outputs: Sequence[Tensor], *, more: Users | None = None
) -> Wiring:
    """Turn a finished trace into a wiring.

    Args:
        model: The model that was traced.
        record: What was written down.
        outputs: The tensors that the model gave.
        more: Who used the model's tensors in another run.

    Returns:
        The wiring.
    """
    table = record.table
    readers: dict[int, list[Reader]] = {}
    foreign: dict[int, set[int]] = {}
    for layer in record.layers:
        path = path_of(layer.weight)
        why = Why("read together", f"'{path}'")
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
        names = record.ledger.names(tensor)
        if names is not None:
            heads |= table.layers_of(torch.unique(names).tolist())
    shared = _shared(record, outputs, more or {})
    layers = tuple(
        _filters(
            record,
            number,
            readers=tuple(readers.get(number, ())),
            norms=tuple(norms.get(number, ())),
            shared_norms=tuple(shared_norms.get(number, ())),
            foreign=foreign.get(number, set()),
            is_head=number in heads,
            shared=shared,
        )
        for number in range(len(record.layers))
    )
    remarks = (*record.stops, *_left_out(record, named_layers(model)), *_way_out(layers, shared))
    written = dict.fromkeys(name for layer in layers for name in _written(layer))
    wiring = Wiring(
        layers=layers,
        remarks=remarks,
        untraced=_untraced(model, record),
        shared={
            alias: shared[name]
            for name in written
            if name in shared
            for alias in _aliases(model, record, name)
        },
    )
    offsets = heard(record, wiring)
    layers = tuple(replace(layer, offset=offsets.get(layer.path, "")) for layer in layers)
    return replace(wiring, layers=layers)


def _aliases(model: nn.Module, record: Record, name: str) -> list[str]:
    """All names of a tensor, and of those that lie in its memory."""
    ledger = record.ledger
    there = {id(ledger.tensors[each]) for each in ledger.overlaps.get(name, (name,))}
    return [
        each
        for each, tensor in (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        )
        if id(tensor) in there
    ]


def _shared(
    record: Record, outputs: Iterable[Tensor], more: Users
) -> Mapping[str, tuple[str, ...]]:
    """Who uses the tensors that have several users, in either run or as a part of the output."""
    for tensor in outputs:
        for name in record.ledger.owners(tensor):
            record.users.setdefault(name, {})[User("", "the model's output")] = None
    both = {
        name: {**record.users.get(name, {}), **more.get(name, {})}
        for name in {**record.users, **more}
    }
    return with_several(both, record.ledger.overlaps)


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
    shared: Mapping[str, Sequence[str]],
) -> Filters:
    layer = record.layers[number]
    shape = tuple(record.ledger.tensors[layer.weight].shape)
    refused = record.refused.get(number, "")
    if not refused and layer.weight in shared:
        refused = f"{others(shared[layer.weight], path_of(layer.weight))} uses its weight too"
    if not refused and not readers and not is_head:
        refused = _UNREAD
    biases, biased = tuple(layer.biases), tuple(layer.biased)
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
        coupled="; ".join(each for each in (_coupling(record, number, readers), mixed) if each),
        mixed=mixed,
        multiplied=_multiplied(record, number),
        foreign=tuple(unit in foreign for unit in range(len(layer.names))) if foreign else (),
        refused=refused,
        biased=() if bias is not None else (*biases, *biased),
    )


def _by_filter(record: Record, channels: Sequence[int], foreign: dict[int, set[int]]) -> _Found:
    """Turn "the set on each channel" round: the channels of each filter.

    Channels with the same set are handled together: behind a mixing operation all of them have it, and it is large.
    Filters that share a channel with what is no filter are added to `foreign`.
    """
    with_set: dict[int, list[int]] = {}
    for channel, name in enumerate(map(record.table.plain, channels)):
        if name:
            with_set.setdefault(name, []).append(channel)
    found: _Found = {}
    for name, members in with_set.items():
        alone = record.table.size(name) == 1
        pure = record.table.is_pure(name)
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
    for verb, other in record.table.partners.get(number, {}):
        by_verb.setdefault(verb, []).append(other)
    reasons: list[str] = []
    for verb, partners in by_verb.items():
        others = [
            other if isinstance(other, str) else path_of(record.layers[other].weight)
            for other in sorted(partners, key=lambda each: not isinstance(each, str))
            if other != number
        ]
        reasons.append(f"{verb} with {_listed(others) if others else 'each other'}")
    return "; ".join(reasons)


def _multiplied(record: Record, number: int) -> tuple[str, ...]:
    """What a layer's filters are multiplied with, by name."""
    return tuple(
        other if isinstance(other, str) else path_of(record.layers[other].weight)
        for verb, other in record.table.partners.get(number, {})
        if verb == "multiplied"
    )


def _mixing(record: Record, number: int) -> str:
    """The operations that bring a layer's own filters together; "" for none."""
    groups = (record.table.company.get(number, ()), record.statistics.get(number, ()))
    return "; ".join(_listed(list(each)) for each in groups if each)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_IN_A_NOTE])
    more = len(names) - _NAMED_IN_A_NOTE
    return f"{shown} and {more} more" if more > 0 else shown


def named_layers(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules that own a weight as torch's layers do, by the weight's canonical name."""
    canonical = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, list[nn.Module]] = {}
    for module in model.modules():
        name = canonical.get(id(module._parameters.get("weight")))  # pyright: ignore[reportPrivateUsage]
        if name is not None and isinstance(module, (_ConvNd, nn.Linear)):
            found.setdefault(name, []).append(module)
    return found


def _left_out(record: Record, owners: Iterable[str]) -> list[str]:
    followed: set[str] = {layer.weight for layer in record.layers}
    left = [path_of(name) for name in owners if name not in followed]
    if not left:
        return []
    return [
        f"not traced: {', '.join(left)} (not run in evaluation mode, or not as an ordinary layer)"
    ]


def _untraced(model: nn.Module, record: Record) -> tuple[str, ...]:
    """Layers, by type or because the trace stopped there, of which no weight was followed."""
    followed = {layer.weight for layer in record.layers}
    canonical = {id(tensor): name for name, tensor in model.named_parameters()}
    found: list[str] = []
    for path, module in model.named_modules():
        if not path or not (isinstance(module, (_ConvNd, nn.Linear)) or path in record.stopped):
            continue
        owned = {canonical[id(tensor)] for tensor in module.parameters()}
        if owned.isdisjoint(followed):
            found.append(path)
    return tuple(found)


def _way_out(layers: Iterable[Filters], shared: Container[str]) -> list[str]:
    """What can be done about layers whose readers are not known."""
    refused = [
        layer.path
        for layer in layers
        if layer.refused and not layer.is_head and layer.weight not in shared
    ]
    if not refused:
        return []
    return [
        f"who reads {_listed(refused)} is not known: exclude=[...] leaves such layers out, wiring=... takes a wiring "
        "that you made or completed yourself"
    ]
