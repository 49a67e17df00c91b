"""Find the convolutional filters that training has abandoned, and put them back to work.

Contents: `attach` (a recipe inside your training loop), `attach_partners` (networks that lend each other weights),
`trace` (who reads whom in your model), the recipes (`RandomOut`, `RePr`, `FilterGrafting`, `NoiseScion`,
`InternalScion`, `RandomControl`), `Recipe` with its parts for your own, `nn` (layers), `losses` and `Teachers`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrow import criteria as criteria
    from regrow import losses as losses
    from regrow import nn as nn
    from regrow import recipes as recipes
    from regrow import renewal as renewal
    from regrow import schedule as schedule
    from regrow import selection as selection
    from regrow import weighing as weighing
    from regrow.compose import Recipe, RecipeInfo
    from regrow.graph import Filters, Norm, Reader, Wiring, trace
    from regrow.history import Grafted, PartnerReport, Renewed, Report
    from regrow.loop import Detached, Regrower, attach
    from regrow.partners import Grafter, attach_partners
    from regrow.partnership import PartnerRecipe
    from regrow.recipes import (
        FilterGrafting,
        InternalScion,
        NoiseScion,
        RandomControl,
        RandomOut,
        RePr,
    )
    from regrow.teachers import Teachers

__version__ = "0.1.0.dev0"

__all__ = [
    "Detached",
    "FilterGrafting",
    "Filters",
    "Grafted",
    "Grafter",
    "InternalScion",
    "NoiseScion",
    "Norm",
    "PartnerRecipe",
    "PartnerReport",
    "RandomControl",
    "RandomOut",
    "RePr",
    "Reader",
    "Recipe",
    "RecipeInfo",
    "Regrower",
    "Renewed",
    "Report",
    "Teachers",
    "Wiring",
    "attach",
    "attach_partners",
    "trace",
]

_HOMES = {
    "attach": "loop",
    "attach_partners": "partners",
    "Detached": "loop",
    "FilterGrafting": "recipes",
    "Filters": "graph",
    "Grafted": "history",
    "Grafter": "partners",
    "InternalScion": "recipes",
    "NoiseScion": "recipes",
    "Norm": "graph",
    "PartnerRecipe": "partnership",
    "PartnerReport": "history",
    "RandomControl": "recipes",
    "RandomOut": "recipes",
    "Reader": "graph",
    "Recipe": "compose",
    "RecipeInfo": "compose",
    "Regrower": "loop",
    "Renewed": "history",
    "Report": "history",
    "RePr": "recipes",
    "Teachers": "teachers",
    "trace": "graph",
    "Wiring": "graph",
}

_MODULES = ("criteria", "losses", "nn", "recipes", "renewal", "schedule", "selection", "weighing")
"""Used by their name: ``regrow.losses.distillation``."""


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line's help must not wait for torch."""
    if name in _MODULES:
        return importlib.import_module(f"regrow.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'regrow' has no attribute '{name}'")
    return getattr(importlib.import_module(f"regrow.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted({*__all__, *_MODULES, *globals()})
