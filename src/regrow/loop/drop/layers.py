"""Which layers a recipe that drops filters can act on, and where what is left is not quite the smaller network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from regrow.compose import Recipe
from regrow.errors import ConfigError
from regrow.graph import Filters, Wiring, gates, is_shared
from regrow.graph.remarks import listed
from regrow.graph.users import others
from regrow.loop.start.layers import WatchedLayers
from regrow.loop.start.shared_tensors import never_silent

_few = partial(listed, most=3)


def refuse_endless(recipe: Recipe) -> None:
    """A drop must have an end."""
    if recipe.drop and not recipe.when.brings_back:
        raise ConfigError(
            f"a recipe that drops filters needs a schedule that brings them back, and {type(recipe.when).__name__} "
            f"never does: give it when=Cycles(...), or drop=False (recipe '{recipe.info.name}')"
        )


def droppable(chosen: WatchedLayers, wiring: Wiring) -> WatchedLayers:
    """Leave out gates that are not dropped with what they switch, and what cannot be silenced; note the rest."""
    switches = gates(wiring)
    notes = list(chosen.notes)
    left: list[Filters] = []
    for layer in chosen.layers:
        whole = chosen.streams is not None and not is_shared(layer)
        why = ""
        if kept := never_silent(layer, wiring):
            why = f"its filters could not give 0: kept is {kept}"
        elif layer.offset and not (whole and not _heard_by_standardised(wiring, layer)):
            why = (
                f"behind it something else than 0 is left of filters that give 0 ({layer.offset}), and is heard "
                "together with others"
            )
        elif layer.path in switches and not whole:
            gate = switches[layer.path]
            what = "switches" if gate.sure else "may switch, or be switched by,"
            why = f"it {what} {_few(gate.over)}: at 0 its filters would scale that and not be gone"
        if why:
            notes.append(f"{layer.path}: never dropped, for {why}")
        else:
            left.append(layer)
    if not left:
        raise ConfigError(
            f"there is no filter that the recipe may drop: {'; '.join(notes[len(chosen.notes) :])} (attach)"
        )
    unknown = [layer.path for layer in left if layer.refused]
    if unknown:
        notes.append(
            f"dropped filters of {_few(unknown)} give 0, and who reads them is not known: where an activation or "
            f"a gate makes something of 0, it is heard"
        )
    counted = [layer.path for layer in left if layer.mixed]
    if counted:
        notes.append(
            f"dropped filters of {_few(counted)} are 0 and are counted as 0 where channels are normalised or mixed "
            f"together: what is left there is not quite the smaller network"
        )
    notes += [
        f"dropped filters of {layer.path} give 0, and what multiplies them in {reader.path} is kept, for its weight is "
        f"used by {others(wiring.shared[reader.weight], reader.path)} too"
        for layer in left
        for reader in wiring[layer.path].readers
        if reader.weight in wiring.shared
    ]
    scaled = [layer.path for layer in left if _heard_by_standardised(wiring, layer)]
    if scaled:
        notes.append(
            f"dropped filters of {_few(scaled)} are read by weights that are standardised: what multiplies them is "
            f"kept, and is counted in the standardisation"
        )
    return replace(chosen, layers=tuple(left), notes=tuple(notes))


def _heard_by_standardised(wiring: Wiring, layer: Filters) -> bool:
    return any(reader.standardised for reader in wiring[layer.path].readers)
