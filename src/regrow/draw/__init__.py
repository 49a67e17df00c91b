"""Random numbers that depend on nothing but their key: seed, optimizer step, layer name and filter.

Contents: `keys` (who asks, and the generator), `initialisers` (fresh weights), `anew` (those of a layer's own class).
"""

from regrow.draw.anew import drawn_anew
from regrow.draw.initialisers import (
    Initialiser,
    InitSpec,
    draw_filters,
    draw_rows,
    resolve_initialiser,
)
from regrow.draw.keys import Key, uniform_rows

__all__ = [
    "InitSpec",
    "Initialiser",
    "Key",
    "draw_filters",
    "draw_rows",
    "drawn_anew",
    "resolve_initialiser",
    "uniform_rows",
]
