"""The recipes: one paper a file, composition and documentation, no arithmetic."""

from regrow.compose import RecipeInfo
from regrow.recipes._registry import build, info, names, register, settings
from regrow.recipes.continual_backprop import ContinualBackprop
from regrow.recipes.controls import at_random, inverted, never
from regrow.recipes.fire import FIRE
from regrow.recipes.grafting import FilterGrafting
from regrow.recipes.guarded import Guarded
from regrow.recipes.internal_scion import InternalScion
from regrow.recipes.keep_alive import KeepAlive
from regrow.recipes.l2_init import L2Init
from regrow.recipes.noise_scion import NoiseScion
from regrow.recipes.partial_reset import PartialReset
from regrow.recipes.random_control import RandomControl
from regrow.recipes.randomout import RandomOut
from regrow.recipes.redo import ReDo
from regrow.recipes.regrama import ReGraMa
from regrow.recipes.repr import RePr
from regrow.recipes.self_normalized_resets import SelfNormalizedResets
from regrow.recipes.shrink_perturb import ShrinkPerturb

__all__ = [
    "FIRE",
    "ContinualBackprop",
    "FilterGrafting",
    "Guarded",
    "InternalScion",
    "KeepAlive",
    "L2Init",
    "NoiseScion",
    "PartialReset",
    "RandomControl",
    "RandomOut",
    "ReDo",
    "ReGraMa",
    "RePr",
    "RecipeInfo",
    "SelfNormalizedResets",
    "ShrinkPerturb",
    "at_random",
    "build",
    "info",
    "inverted",
    "names",
    "never",
    "register",
    "settings",
]
