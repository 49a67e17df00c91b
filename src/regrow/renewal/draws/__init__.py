"""Draws: what a renewed filter is (`Redraw(draw=...)`), one a file.

* `FirstValues`: what the filter itself began with.
* `LivingScale`: as long as the filters that stay.
* `Centred`, `UnitVariance`: as the batch at hand wants it.
* `Split`: the strongest filter in two, and the network computes what it did.
* `Draw`, `Drawn`: for one of your own. A direction that no other filter has is `regrow.renewal.Orthogonal`.
"""

from regrow.renewal.draws.base import Draw, Drawn
from regrow.renewal.draws.centred import Centred
from regrow.renewal.draws.first_values import FirstValues
from regrow.renewal.draws.living_scale import LivingScale
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
]
