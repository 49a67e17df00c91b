"""Which filters are renewed: scores of the whole network in, masks out."""

from regrow.selection.base import Selection, SelectionState
from regrow.selection.below import Below
from regrow.selection.counts_of import CountsOf
from regrow.selection.rate_of_layer import RateOfLayer
from regrow.selection.up_to import UpTo
from regrow.selection.worst_fraction import WorstFraction

__all__ = [
    "Below",
    "CountsOf",
    "RateOfLayer",
    "Selection",
    "SelectionState",
    "UpTo",
    "WorstFraction",
]
