"""Draws: what a renewed filter is (`Redraw(draw=...)`), one a file, by name or as an object.

* ``initial``, `FirstValues`: what the filter itself had when the recipe was attached.
* ``living_scale``, `LivingScale`: as long as the filters that stay.
* ``centred``, `Centred`; ``unit_variance``, `UnitVariance`: as the newest training pass wants it.
* ``split``, `Split`: the strongest filter in two, and the network computes what it did.
* ``initialiser``, or none: what the layer's initialiser draws.

A direction that no other filter has is `regrow.renewal.Orthogonal`. For a draw of your own: `Draw`, `Drawn`.
"""

from regrow.renewal.draws.base import Draw, Drawn
from regrow.renewal.draws.centred import Centred
from regrow.renewal.draws.first_values import FirstValues
from regrow.renewal.draws.living_scale import LivingScale
from regrow.renewal.draws.menu import draw_of
from regrow.renewal.draws.split import Split
from regrow.renewal.draws.unit_variance import UnitVariance

__all__ = [
    "Centred",
    "Draw",
    "Drawn",
    "FirstValues",
    "LivingScale",
    "Split",
    "UnitVariance",
    "draw_of",
]
