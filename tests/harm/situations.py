"""All situations, by name: importing a file of them declares what is in it."""

from __future__ import annotations

from harm import activations, gates, heads, loops, losses, nets, quiet, routes, scales, skips
from harm.registry import SITUATIONS, Situation

FILES = (heads, gates, skips, routes, losses, scales, loops, nets, activations, quiet)
__all__ = ["FILES", "SITUATIONS", "Situation"]
