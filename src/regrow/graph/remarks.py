"""What a wiring says of layers that are not in it, or that nothing is done with: one line each, with the way out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Final

from torch import nn

from regrow.graph.filters import Filters
from regrow.graph.plain import is_layer
from regrow.graph.record import Record
from regrow.graph.weights import path_of

_NAMED_IN_A_NOTE: Final = 2


def listed(names: Sequence[str], most: int = _NAMED_IN_A_NOTE) -> str:
    """The first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + f" and {more} more" * (more > 0)


def named_layers(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules that are one layer, by their weight's canonical name."""
    canonical = {id(tensor): name for name, tensor in model.named_parameters()}
    found: dict[str, list[nn.Module]] = {}
    for module in model.modules():
        if is_layer(module):
            name = canonical.get(id(module._parameters.get("weight")))  # pyright: ignore[reportPrivateUsage]
            if name is not None:
                found.setdefault(name, []).append(module)
    return found


def left_out(record: Record, owners: Iterable[str]) -> list[str]:
    """Layers of torch's classes that did not run."""
    followed: set[str] = {layer.weight for layer in record.layers}
    left = [path_of(name) for name in owners if name not in followed]
    if not left:
        return []
    return [f"not traced: {', '.join(left)} (not run in either mode, or not as an ordinary layer)"]


def untraced(model: nn.Module, record: Record) -> tuple[str, ...]:
    """Layers, by type or because the trace stopped there, of which no weight was followed."""
    followed = {layer.weight for layer in record.layers}
    canonical = {id(tensor): name for name, tensor in model.named_parameters()}
    found: list[str] = []
    for path, module in model.named_modules():
        if not path or not (path in record.stopped or is_layer(module)):
            continue
        owned = {canonical[id(tensor)] for tensor in module.parameters()}
        if owned.isdisjoint(followed):
            found.append(path)
    return tuple(found)


def way_out(layers: Sequence[Filters], shared: Container[str]) -> list[str]:
    """What can be done about layers whose readers are not known."""
    remarks: list[str] = []
    refused = [
        layer.path
        for layer in layers
        if layer.refused and not (layer.is_head or layer.unread or layer.weight in shared)
    ]
    if refused:
        remarks.append(
            f"who reads {listed(refused)} is not known: exclude=[...] leaves such layers out, wiring=... takes a "
            "wiring that you made or completed yourself"
        )
    unread = [layer.path for layer in layers if layer.unread]
    if unread:
        remarks.append(
            f"no layer reads {', '.join(unread)} on this example, and the output does not hold them: not renewed, "
            "unless include=[...] names them. Example inputs on which they give something, or an output of tensors, "
            "tuples, dicts, dataclasses or objects with attributes, show who reads them; exclude=[...] leaves them out "
            "for good"
        )
    return remarks + _pathless(layers)


def _pathless(layers: Sequence[Filters]) -> list[str]:
    """Layers that are read, and from which no way to the output was seen nevertheless."""
    reaching = {
        layer.path
        for layer in layers
        if layer.is_head
        or (layer.refused and not layer.unread)  # or it is not known where they lead
    }
    grown = True
    while grown:
        more = {
            layer.path
            for layer in layers
            if layer.path not in reaching and any(each.path in reaching for each in layer.readers)
        }
        grown = bool(more)
        reaching |= more
    left = [layer.path for layer in layers if not (layer.unread or layer.path in reaching)]
    if not left:
        return []
    return [
        f"no way to the output was seen from {listed(left)}: what reads them leads nowhere. Give example inputs "
        "or an output that show the way, or leave the layers out with exclude=[...]"
    ]
