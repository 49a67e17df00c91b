"""What of the watched layers somebody else uses too: it is kept, and said by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from regrow.graph import Filters, Wiring
from regrow.graph.users import others

Shared = Mapping[str, Sequence[str]]
"""As in `Wiring.shared`."""


def without_shared_weights(
    watched: Sequence[Filters], shared: Shared
) -> tuple[list[Filters], list[str]]:
    """The layers whose weight is theirs: a filter that also works elsewhere is somebody else's too."""
    left = [filters for filters in watched if filters.weight in shared]
    notes = [
        f"{filters.path}: left alone, its weight is used by {others(shared[filters.weight], filters.path)} too"
        for filters in left
    ]
    return [filters for filters in watched if filters.weight not in shared], notes


def without_shared_entries(
    watched: Sequence[Filters], shared: Shared, *, touches_readers: bool
) -> tuple[list[Filters], list[str]]:
    """The layers without biases, norm entries and readers that somebody else uses too, as a renewal is to see them."""
    found: list[Filters] = []
    notes: list[str] = []
    for filters in watched:
        notes += [
            f"{filters.path}: {name} kept, which is used by {others(shared[name], path)} too"
            for name, path in _entries(filters)
            if name in shared
        ]
        if filters.biased:
            notes.append(
                f"{filters.path}: kept what is added as its bias, {others(filters.biased, '')}"
            )
        if touches_readers:
            notes += [
                f"{filters.path}: kept in {reader.path}, whose weight is used by "
                f"{others(shared[reader.weight], reader.path)} too"
                for reader in filters.readers
                if reader.weight in shared
            ]
        found.append(
            replace(
                filters,
                bias=None if filters.bias in shared else filters.bias,
                norms=tuple(norm.without(shared.keys()) for norm in filters.norms),
                readers=tuple(each for each in filters.readers if each.weight not in shared),
            )
        )
    return found, notes


def never_silent(filters: Filters, wiring: Wiring) -> str:
    """What keeps filters from giving 0 while they are out of the network, because somebody else uses it too."""
    bound = [
        wiring[each.path] for each in filters.readers if each.groups > 1 and each.path in wiring
    ]
    kept = [
        f"{name}, which is used by {others(wiring.shared[name], path)} too"
        for layer in (wiring[filters.path], *bound)
        for name, path in ((layer.weight, layer.path), *_entries(layer))
        if name in wiring.shared
    ]
    added = [what for layer in (wiring[filters.path], *bound) for what in layer.biased]
    return "; ".join(dict.fromkeys((*kept, *added)))


def _entries(filters: Filters) -> list[tuple[str, str]]:
    """Names of its bias and its own norms' tensors, each with the path that it is there for."""
    bias = [] if filters.bias is None else [(filters.bias, filters.path)]
    return bias + [(each.name, norm.path) for norm in filters.norms for each in norm.tensors]
