"""Which filters are renewed: scores of the whole network in, masks out."""

from regrow.selection.base import Selection, SelectionState
from regrow.selection.below import Below
from regrow.selection.controls import Inverted, Nobody
from regrow.selection.counts_of import CountsOf
from regrow.selection.fraction_of_layer import FractionOfLayer
from regrow.selection.graded import Graded
from regrow.selection.rate_of_layer import RateOfLayer
from regrow.selection.up_to import UpTo
from regrow.selection.worst_fraction import WorstFraction

__all__ = [
    "Below",
    "CountsOf",
    "FractionOfLayer",
    "Graded",
    "Inverted",
    "Nobody",
    "RateOfLayer",
    "Selection",
    "SelectionState",
    "UpTo",
    "WorstFraction",
]
