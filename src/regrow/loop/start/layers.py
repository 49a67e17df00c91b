"""Which layers a recipe watches, and what is left alone there.

Called by `loop/attach`: the layers that it gives are resolved, and stepped over from then on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, get_args

from torch import Tensor

from regrow.compose import Recipe
from regrow.errors import ConfigError, UnknownNameError
from regrow.graph import Filters, Policy, Streams, Wiring, as_one, is_shared, streams_of
from regrow.graph.gates import gates
from regrow.graph.remarks import listed
from regrow.graph.streams import Unit
from regrow.loop.optimizers import TrainedTensors
from regrow.loop.start.shared_tensors import without_shared_entries, without_shared_weights

_FEW: Final = 6
"""Layers that a message names."""

_few = partial(listed, most=_FEW)


@dataclass(frozen=True, kw_only=True)
class WatchedLayers:
    """The layers to watch."""

    layers: tuple[Filters, ...]  # in call order
    # Filters that are renewed as one; None unless the policy is ``stream``.
    streams: Streams | None = None
    notes: tuple[str, ...] = ()  # what is left alone, and why


def choose(
    recipe: Recipe,
    wiring: Wiring,
    *,
    layers: Sequence[str],
    include: Sequence[str],
    exclude: Sequence[str],
    parameters: Mapping[str, Tensor],
    trained: TrainedTensors,
    coupled: Policy,
) -> WatchedLayers:
    """Those that may be trained at some time; whether they are is asked at every step (`regrow.loop.optimizers`)."""
    if coupled not in get_args(Policy):
        raise UnknownNameError("policy for coupled filters", str(coupled), get_args(Policy))
    candidates, entangled = _candidates(recipe, wiring, layers, include=include, exclude=exclude)
    watched = [filters for filters in candidates if filters.weight in parameters]
    watched, notes = without_shared_weights(watched, wiring.shared)
    streams: Streams | None = None
    if coupled == "inner":
        left = [filters.path for filters in watched if is_shared(filters)]
        if left:
            notes.append(
                f"coupled='inner' leaves out {_few(left)}: their readers read something else with them"
            )
        watched = [filters for filters in watched if not is_shared(filters)]
    elif coupled == "stream":
        watched, streams, left_out = _whole_streams(wiring, watched)
        notes += left_out
    elif recipe.hidden_alone and coupled == "writer":
        watched, streams = _whole_products(wiring, watched)
    if not _may_begin(watched, parameters, trained):
        raise ConfigError(
            _why_none(wiring, candidates, parameters, trained, coupled=coupled, notes=notes)
        )
    touches_readers = recipe.renew.touches_readers
    watched, kept = without_shared_entries(watched, wiring.shared, touches_readers=touches_readers)
    notes += kept
    watched, deaf = _without_standardised_readers(watched)
    if touches_readers:
        notes += deaf
    if entangled:
        notes.append(
            f"{listed(entangled, 3)}: left alone, for their units are part of a residual stream or of attention; "
            "include=[...] takes them"
        )
    return WatchedLayers(layers=tuple(watched), streams=streams, notes=tuple(notes))


def _candidates(
    recipe: Recipe,
    wiring: Wiring,
    layers: Sequence[str],
    *,
    include: Sequence[str],
    exclude: Sequence[str],
) -> tuple[list[Filters], list[str]]:
    """What user and recipe ask for; and paths of what the recipe leaves alone, for its units mean nothing alone."""
    # The network's first layer of these kinds, whether anybody trains it or not.
    first = wiring.renewable(layers=tuple(layers))[:1] if recipe.exclude_first else ()
    found = wiring.renewable(
        layers=tuple(layers),
        include=tuple(include),
        exclude=(*exclude, *(each.path for each in first)),
    )
    alone = recipe.hidden_alone and tuple(include) == ("*",)
    entangled = [each.path for each in found if alone and not each.hidden]
    return [each for each in found if each.path not in entangled], entangled


def _may_begin(
    watched: Sequence[Filters], parameters: Mapping[str, Tensor], trained: TrainedTensors
) -> bool:
    """Whether a layer is in the optimizer, or frozen while others are in it; else the wrong optimizer was given."""
    if any(trained.held(filters.weight) for filters in watched):
        return True
    frozen = any(not parameters[filters.weight].requires_grad for filters in watched)
    return frozen and any(trained.held(name) for name in parameters)


def _whole_streams(
    wiring: Wiring, watched: Sequence[Filters]
) -> tuple[list[Filters], Streams, list[str]]:
    """Streams all of whose writers are watched act as one; filters of the others are left out."""
    known = {filters.path for filters in watched if not filters.refused}
    groups: list[tuple[Unit, ...]] = []
    barred: list[Unit] = []
    why = {filters.path: filters.refused for filters in watched if filters.refused}
    for group in streams_of(wiring):
        paths = {path for path, _ in group}
        strangers = sorted(paths - known)
        if not strangers and len(paths) == len(group):
            groups.append(group)
            continue
        reason = "their channels are mixed"
        if strangers:
            verb = "writes" if len(strangers) == 1 else "write"
            reason = f"{', '.join(strangers[:3])} {verb} into their stream too"
        for unit in group:
            if unit[0] in known:
                barred.append(unit)
                why.setdefault(unit[0], reason)
    lost = Counter(path for path, _ in barred)
    notes: list[str] = []
    found: list[Filters] = []
    for filters in watched:
        out = filters.count if filters.refused else lost[filters.path]
        if out:
            notes.append(
                f"coupled='stream' leaves out {out} of {filters.count} filters of {filters.path}: {why[filters.path]}"
            )
        if out < filters.count:
            found.append(as_one(filters))
    counts = {filters.path: filters.count for filters in found}
    remaining = [unit for unit in barred if unit[0] in counts]
    return found, Streams(groups, counts, barred=remaining), notes


def _whole_products(
    wiring: Wiring, watched: Sequence[Filters]
) -> tuple[list[Filters], Streams | None]:
    """Units that are read as products alone, as gate and up in a gated MLP: one unit, whose readers are its own."""
    sure = {path for path, gate in gates(wiring).items() if gate.sure}
    factors = {
        each.path: each
        for each in watched
        if each.multiplied
        and each.path
        not in sure  # worked out from what it scales: a factor of it, and no half of a unit
        and not (each.refused or each.foreign)
        and all(part.startswith("multiplied with") for part in each.coupled.split("; "))
    }
    groups = [
        group
        for group in (streams_of(wiring) if factors else ())
        # Two units, also of one layer (its halves), or one of each layer: a product with everybody is none of a unit's.
        if all(path in factors for path, _ in group)
        and (len(group) == 2 or len({path for path, _ in group}) == len(group))
    ]
    if not groups:
        return list(watched), None
    together = {path for group in groups for path, _ in group}
    found = [as_one(each) if each.path in together else each for each in watched]
    return found, Streams(groups, {each.path: each.count for each in found}, products=True)


def _why_none(
    wiring: Wiring,
    candidates: Sequence[Filters],
    parameters: Mapping[str, Tensor],
    trained: TrainedTensors,
    *,
    coupled: Policy,
    notes: Sequence[str],
) -> str:
    """Which condition left no layer, and what can be done."""
    paths = [each.path for each in candidates]
    if not any(trained.held(name) for name in parameters):
        why = (
            "the optimizer trains none of this model's parameters: give the optimizer of this model, or a list of all "
            "that step in one training step; of several networks, as of a GAN, each is attached with its own"
        )
    elif not candidates:
        why = (
            f"of its layers ({_few(list(wiring))}) none is left by layers, include and exclude, and without the output "
            f"layer and layers that could not be traced: {_other_kinds(wiring)}"
        )
    elif all(filters.weight in wiring.shared for filters in candidates):
        why = f"somebody else uses the weights of {_few(paths)} too"
    elif any(trained.held(filters.weight) for filters in candidates):
        why = f"coupled='{coupled}' leaves none of {_few(paths)}: coupled='writer' takes all"
    else:
        why = (
            f"the optimizer trains none of {_few(paths)}: give the optimizer that holds "
            f"them, or a list of all optimizers; attach later where they are to join it, or freeze them till then"
        )
    said = "".join(f"; {note}" for note in (*notes, *wiring.remarks)[:_FEW])
    return f"there is no filter that the recipe may renew: {why}{said} (attach)"


def _other_kinds(wiring: Wiring) -> str:
    """What `layers` may name in this model."""
    hidden = [each for each in wiring.layers if not (each.is_head or each.unread)]
    kinds = tuple(dict.fromkeys(each.kind for each in hidden))
    if not kinds:
        return "it has no layer between its input and its output that could be renewed"
    return f"besides them it has {_few([each.path for each in hidden])}; give layers={kinds!r}"


def _without_standardised_readers(
    watched: Sequence[Filters],
) -> tuple[list[Filters], list[str]]:
    """Readers that standardise their weight hear a filter behind zeros all the same, and all others differently."""
    notes = [
        f"{filters.path}: kept in {', '.join(deaf)}, which standardise weights: zeros silence nothing there"
        for filters in watched
        if (deaf := [each.path for each in filters.readers if each.standardised])
    ]
    found = [
        replace(filters, readers=tuple(each for each in filters.readers if not each.standardised))
        for filters in watched
    ]
    return found, notes
