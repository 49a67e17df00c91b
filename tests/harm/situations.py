"""All situations, by name: importing a file of them declares what is in it."""

from __future__ import annotations

from harm import gates, losses, loops, nets, quiet, skips
from harm.registry import SITUATIONS, Situation

FILES = (gates, skips, losses, loops, nets, quiet)
__all__ = ["FILES", "SITUATIONS", "Situation"]
