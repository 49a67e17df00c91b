"""Find the convolutional filters that training has abandoned, and put them back to work.

Contents: `attach` (a recipe inside your training loop), `attach_partners` (networks that lend each other weights),
`trace` (who reads whom in your model), `inspect` (what is wrong with it: a `Health`), the recipes (`KeepAlive`,
`RandomOut`, `ReDo`, `ContinualBackprop`, `ReGraMa`, `PartialReset`, `SelfNormalizedResets`, `ShrinkPerturb`, `L2Init`,
`FIRE`, `RePr`, `FilterGrafting`, `NoiseScion`, `InternalScion`, `RandomControl`),
`Recipe` with its parts for your own, `nn` (layers), `losses` and `Teachers`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers read; tests/test_api_surface.py holds it to be _HOMES
    from regrow import criteria as criteria
    from regrow import guard as guard
    from regrow import losses as losses
    from regrow import nn as nn
    from regrow import recipes as recipes
    from regrow import renewal as renewal
    from regrow import schedule as schedule
    from regrow import selection as selection
    from regrow import weighing as weighing
    from regrow.compose import Recipe as Recipe
    from regrow.graph import trace as trace
    from regrow.guard import StepLimit as StepLimit
    from regrow.health import Health as Health
    from regrow.health import inspect as inspect
    from regrow.history import Report as Report
    from regrow.loop import Regrower as Regrower
    from regrow.loop import attach as attach
    from regrow.partners import Grafter as Grafter
    from regrow.partners import attach_partners as attach_partners
    from regrow.partnership import PartnerRecipe as PartnerRecipe
    from regrow.recipes import FIRE as FIRE
    from regrow.recipes import ContinualBackprop as ContinualBackprop
    from regrow.recipes import FilterGrafting as FilterGrafting
    from regrow.recipes import InternalScion as InternalScion
    from regrow.recipes import KeepAlive as KeepAlive
    from regrow.recipes import L2Init as L2Init
    from regrow.recipes import NoiseScion as NoiseScion
    from regrow.recipes import PartialReset as PartialReset
    from regrow.recipes import RandomControl as RandomControl
    from regrow.recipes import RandomOut as RandomOut
    from regrow.recipes import ReDo as ReDo
    from regrow.recipes import ReGraMa as ReGraMa
    from regrow.recipes import RePr as RePr
    from regrow.recipes import SelfNormalizedResets as SelfNormalizedResets
    from regrow.recipes import ShrinkPerturb as ShrinkPerturb
    from regrow.teachers import Teachers as Teachers

__version__ = "0.1.0.dev0"

_HOMES = {
    "attach": "loop",
    "attach_partners": "partners",
    "ContinualBackprop": "recipes",
    "FilterGrafting": "recipes",
    "FIRE": "recipes",
    "Grafter": "partners",
    "Health": "health",
    "inspect": "health",
    "InternalScion": "recipes",
    "KeepAlive": "recipes",
    "L2Init": "recipes",
    "NoiseScion": "recipes",
    "PartialReset": "recipes",
    "PartnerRecipe": "partnership",
    "RandomControl": "recipes",
    "RandomOut": "recipes",
    "Recipe": "compose",
    "ReDo": "recipes",
    "ReGraMa": "recipes",
    "Regrower": "loop",
    "Report": "history",
    "RePr": "recipes",
    "SelfNormalizedResets": "recipes",
    "ShrinkPerturb": "recipes",
    "StepLimit": "guard",
    "Teachers": "teachers",
    "trace": "graph",
}
"""The public names, each with the module that has it."""

_MODULES = (
    "criteria",
    "guard",
    "losses",
    "nn",
    "recipes",
    "renewal",
    "schedule",
    "selection",
    "weighing",
)
"""Used by their name: ``regrow.losses.distillation``."""

_MOVED = {
    "Detached": "loop",
    "Filters": "graph",
    "Grafted": "history",
    "Norm": "graph",
    "PartnerReport": "history",
    "Reader": "graph",
    "RecipeInfo": "recipes",
    "Renewed": "history",
    "Wiring": "graph",
}
"""Names that were here once."""

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll] # the block above says it to type checkers


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line's help must not wait for torch."""
    if name in _MODULES:
        return importlib.import_module(f"regrow.{name}")
    if name in _MOVED:
        raise AttributeError(
            f"regrow.{name} is now in regrow.{_MOVED[name]}: from regrow.{_MOVED[name]} import {name}"
        )
    if name not in _HOMES:
        raise AttributeError(f"module 'regrow' has no attribute '{name}'")
    return getattr(importlib.import_module(f"regrow.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted({*__all__, *_MODULES, *globals()})
