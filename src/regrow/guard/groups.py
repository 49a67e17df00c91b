"""Which parameters are one layer's to a guard: by the traced wiring, and every other one by itself."""

from __future__ import annotations

import math

from torch import Tensor, nn

from regrow.graph import Wiring
from regrow.guard.fresh import fresh_length
from regrow.guard.step_parameters import Group, Part


def parts_of(model: nn.Module, wiring: Wiring) -> dict[Tensor, Part]:
    """By parameter the group that it belongs to; of one that has several names, or is several layers', of the first."""
    named = dict(model.named_parameters(remove_duplicate=False))
    found: dict[Tensor, Part] = {}
    number = 0
    for layer in wiring.layers:
        own = [name for name in (layer.weight, layer.bias) if name is not None and name in named]
        new = [name for name in own if named[name] not in found]
        if not new or tuple(named[new[0]].shape) not in (layer.weight_shape, (layer.count,)):
            continue
        by_filter = {
            name: named[name].t() if layer.columns and name == layer.weight else named[name]
            for name in own
        }
        length = math.sqrt(sum(_fresh(model, *each) ** 2 for each in by_filter.items()))
        group = Group(
            number=number,
            name=layer.path,
            fresh=length,
            units=layer.count,
            is_head=layer.is_head,
            fan_in=math.prod(layer.weight_shape) // layer.count,
        )
        number += 1
        for name in new:
            filters = layer if name == layer.weight else None
            found[named[name]] = Part(parameter=named[name], group=group, filters=filters)
    for name, parameter in named.items():
        if parameter not in found:
            found[parameter] = alone(
                parameter, number=number, name=name, fresh=_fresh(model, name, parameter)
            )
            number += 1
    return found


def alone(parameter: Tensor, *, number: int, name: str, fresh: float) -> Part:
    """A parameter that is no traced layer's, in a group of its own: rows of a matrix, or entries of a vector."""
    sides = [size for size in parameter.shape if size > 1]
    group = Group(number=number, name=name, fresh=fresh, units=sides[0] if sides else 1)
    return Part(parameter=parameter, group=group)


def _fresh(model: nn.Module, name: str, parameter: Tensor) -> float:
    path, _, attribute = name.rpartition(".")
    return fresh_length(model.get_submodule(path), attribute, parameter)
