"""One family of optimizers a file: what its state of a renewed unit is, and which steps must be made right."""

from regrow.surgery.optimizers.base import LEAVE, Family
from regrow.surgery.optimizers.foreign import FOREIGN, FOREIGN_REFUSED, TESTED, qualified
from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.registry import (
    FAMILIES,
    REFUSED,
    ZERO,
    bare_method,
    family_of,
    known_kind,
)
from regrow.surgery.optimizers.zeroed import Zeroed

__all__ = [
    "FAMILIES",
    "FOREIGN",
    "FOREIGN_REFUSED",
    "LEAVE",
    "REFUSED",
    "TESTED",
    "ZERO",
    "Family",
    "MomentFamily",
    "Zeroed",
    "bare_method",
    "family_of",
    "known_kind",
    "qualified",
]
