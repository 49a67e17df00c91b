"""Random numbers that depend on nothing but their key: seed, optimizer step, layer name and filter.

Contents: `initialisers` (what fresh weights are drawn from), `keys` (who asks, the generator, what it gives), `anew`
(those of a layer's own class).
"""

from regrow.draw.anew import drawn_anew
from regrow.draw.initialisers import Initialiser, InitSpec, resolve_initialiser
from regrow.draw.keys import Key, draw_filters, draw_rows, uniform_rows

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
