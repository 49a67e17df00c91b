"""Which parameters must be trained while a layer takes part in a training, and who does not take part now."""

from __future__ import annotations

from collections.abc import Sequence, Set

from regrow.compose import Recipe
from regrow.graph import Filters, Streams, Wiring, is_shared
from regrow.loop.optimizers import TrainedTensors, WorkingLayers
from regrow.renewal import Need


def working_layers(
    recipe: Recipe, layers: Sequence[Filters], wiring: Wiring, trained: TrainedTensors
) -> WorkingLayers:
    """Find out what a recipe must change when it acts on a layer."""
    to_return = {layer.path: _to_renew(recipe, layer, wiring) for layer in layers}
    needs = dict(to_return)
    for layer in layers if recipe.drop else ():
        silent: set[str] = set()
        _must_be_silent(layer, wiring, silent)
        needs[layer.path] |= silent
    return WorkingLayers(trained, needs, to_return)


def notes_on(
    working: WorkingLayers, layers: Sequence[Filters], streams: Streams | None
) -> list[str]:
    """Who does not take part now, and what of those who do is kept."""
    trained = working.trained.now()
    able = working.now(trained)
    frozen = [layer.path for layer in layers if layer.weight not in trained]
    notes: list[str] = []
    if frozen:
        notes.append(
            f"not trained now, and watched from the step in which they are: {', '.join(frozen)}"
        )
    for layer in layers:
        if layer.path in frozen:
            continue
        lacking = sorted(working.needs[layer.path] - trained)
        if lacking:
            verb = "is" if len(lacking) == 1 else "are"
            notes.append(
                f"{layer.path}: not renewed before {', '.join(lacking)} {verb} trained, which must change with it"
            )
        own = _own(layer)
        kept = [name for name in own if name not in working.trained.writable(own, trained)]
        if kept:
            notes.append(
                f"{layer.path}: {', '.join(kept)} kept, which the optimizer does not train"
            )
    return notes + _of_streams(layers, able, streams)


def _to_renew(recipe: Recipe, layer: Filters, wiring: Wiring) -> frozenset[str]:
    """The weight, and what else a renewal writes to that is not begun anew with it."""
    found = {layer.weight}
    if Need.HOMOGENEOUS in recipe.renew.needs and layer.bias is not None:
        found.add(layer.bias)  # the function is kept by all that is written together, or not at all
    for reader in layer.readers if recipe.renew.touches_readers else ():
        if not any(flag for flags in reader.alone for flag in flags):
            continue
        found.add(reader.weight)
        if recipe.renew.keeps_output and not recipe.drop and reader.path in wiring:
            # Where the mean of what is cut off goes: see `regrow.renewal.preserve`.
            bias = wiring[reader.path].bias
            found |= set() if bias is None else {bias}
    return frozenset(found)


def _must_be_silent(layer: Filters, wiring: Wiring, found: set[str]) -> None:
    """What a drop must set to 0 so that nobody hears these filters.

    What multiplies them; and where that is other filters' too, all that they could speak with. A layer that hears
    nobody else is dropped with them.
    """
    found.add(layer.weight)
    deaf = any(reader.standardised for reader in wiring[layer.path].readers)
    if deaf or is_shared(layer):
        found |= {*_scales(layer), *([] if layer.bias is None else [layer.bias])}
    for reader in layer.readers:
        if reader.weight in found or reader.standardised:
            continue
        found.add(reader.weight)
        for behind in wiring.layers:
            if behind.path == reader.path and behind.groups > 1 and not behind.is_head:
                _must_be_silent(behind, wiring, found)


def _scales(layer: Filters) -> set[str]:
    return {each.name for norm in layer.norms for each in norm.tensors if each.is_parameter}


def _own(layer: Filters) -> list[str]:
    """What a renewal begins anew besides the weight."""
    entries = [each.name for norm in layer.norms for each in norm.tensors]
    return entries if layer.bias is None else [layer.bias, *entries]


def _of_streams(layers: Sequence[Filters], able: Set[str], streams: Streams | None) -> list[str]:
    """Filters that wait for another writer of their stream."""
    waiting: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for group in streams.groups if streams is not None else ():
        others = {path for path, _ in group if path not in able}
        for path, _ in group if others else ():
            if path in able:
                waiting.setdefault(path, set()).update(others)
                counts[path] = counts.get(path, 0) + 1
    return [
        f"{layer.path}: {counts[layer.path]} of {layer.count} filters are not renewed before "
        f"{', '.join(sorted(waiting[layer.path]))} can be, which write into their stream too"
        for layer in layers
        if layer.path in waiting
    ]
