"""All situations, by name: importing a file of them declares what is in it."""

from __future__ import annotations

from typing import Final

from harm import activations, gates, heads, loops, losses, nets, quiet, routes, scales, skips
from harm.registry import SITUATIONS as DECLARED
from harm.registry import Situation

KINDS: Final = tuple(
    file.__name__.rpartition(".")[2]
    for file in (heads, gates, skips, routes, losses, scales, loops, nets, activations, quiet)
)
"""In the order of the table."""
SITUATIONS: Final[dict[str, Situation]] = {
    name: each for kind in KINDS for name, each in DECLARED.items() if each.kind == kind
}
