"""The grid of a study, multiplied out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

from regrow.errors import ConfigError
from regrow.study.document import Study, check_document
from regrow.study.keys import set_key

Point = tuple[tuple[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid.

    Attributes:
        name: ``base`` without a grid, else such as ``train.lr=0.05,model.dense=16``.
        study: The study at this point: no grid, all settings of the arms filled in.
    """

    name: str
    study: Study


def cells(study: Study, *, complete: Callable[[Study, str], Study], where: str) -> tuple[Cell, ...]:
    """Multiply the grid out and complete the study at each of its points, the last key varying fastest."""
    base = study.model_dump(exclude={"grid"})
    found: dict[str, Cell] = {}
    for point in _points(study, where=where):
        document = deepcopy(base)
        for key, value in point:
            set_key(document, key, value, where=f'{where}: grid."{key}"')
        name = ",".join(f"{key}={value}" for key, value in point) or "base"
        if name in found:
            raise ConfigError(f"{where}: grid: the cell {name} is there twice")
        place = where if not point else f"{where}: grid ({name})"
        found[name] = Cell(name=name, study=complete(check_document(document, where=place), place))
    return tuple(found.values())


def _points(study: Study, *, where: str) -> list[Point]:
    """Its values at every point; only scalars can stand in a cell's name."""
    for key, values in study.grid.items():
        place = f'{where}: grid."{key}"'
        if not values:
            raise ConfigError(f"{place}: must list at least one value")
        for value in values:
            if not isinstance(value, str | int | float):
                raise ConfigError(
                    f"{place}: must list texts, numbers, true or false, got {value!r}"
                )
    axes = [[(key, value) for value in values] for key, values in study.grid.items()]
    return list(itertools.product(*axes))
