"""Which filters are renewed: scores of the whole network in, masks out."""

from regrow.selection.at_most import AtMost
from regrow.selection.base import Selection, SelectionState
from regrow.selection.below import Below
from regrow.selection.counts_of import CountsOf
from regrow.selection.rate_of_layer import RateOfLayer
from regrow.selection.worst_fraction import WorstFraction

__all__ = [
    "AtMost",
    "Below",
    "CountsOf",
    "RateOfLayer",
    "Selection",
    "SelectionState",
    "WorstFraction",
]
