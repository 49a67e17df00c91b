"""Which parameters a change of the whole network concerns, and what each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from regrow.graph import Filters, Wiring


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownParameter:
    """One parameter of a model."""

    name: str  # its first name
    parameter: nn.Parameter
    filters: Filters | None  # the layer whose weight it is; None: no layer's weight
    of_norm: bool  # whether it is a normalisation layer's


def known_parameters(
    model: nn.Module, wiring: Wiring, *, include: Sequence[str], exclude: Sequence[str]
) -> list[KnownParameter]:
    """Every parameter of a model once, under its first name, the output layer's too; patterns are of module paths."""
    every = dict(model.named_parameters(remove_duplicate=False))
    weights = {
        id(every[each.weight]): each for each in reversed(wiring.layers) if each.weight in every
    }
    norms = {
        id(every[tensor.name])
        for layer in wiring.layers
        for norm in (*layer.norms, *layer.shared_norms)
        for tensor in norm.tensors
        if tensor.name in every
    }
    found: list[KnownParameter] = []
    for name, parameter in model.named_parameters():
        filters = weights.get(id(parameter))
        paths = {name.rpartition(".")[0], "" if filters is None else filters.path}
        if _match(paths, include) and not _match(paths, exclude):
            found.append(
                KnownParameter(
                    name=name,
                    parameter=parameter,
                    filters=filters,
                    of_norm=id(parameter) in norms,
                )
            )
    return found


def _match(paths: set[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for path in paths for pattern in patterns)
