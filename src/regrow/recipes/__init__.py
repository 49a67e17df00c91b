"""The recipes: one paper a file, composition and documentation, no arithmetic."""

from regrow.recipes._registry import build, info, names, register, settings
from regrow.recipes.random_control import RandomControl
from regrow.recipes.randomout import RandomOut
from regrow.recipes.repr import RePr

__all__ = ["RandomControl", "RandomOut", "RePr", "build", "info", "names", "register", "settings"]
