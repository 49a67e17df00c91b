"""The recipes: one paper a file, composition and documentation, no arithmetic."""

from regrow.recipes._registry import build, info, names, register, settings
from regrow.recipes.random_control import RandomControl
from regrow.recipes.randomout import RandomOut

__all__ = ["RandomControl", "RandomOut", "build", "info", "names", "register", "settings"]
