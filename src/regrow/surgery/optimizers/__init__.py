"""One family of optimizers a file: what a renewed unit's memory is, and which steps must be made right."""

from regrow.surgery.optimizers.base import LEAVE, Before, Family, Made, fine, is_coarse
from regrow.surgery.optimizers.moments import MomentFamily
from regrow.surgery.optimizers.registry import FAMILIES, REFUSED, family_of, known_kind

__all__ = [
    "FAMILIES",
    "LEAVE",
    "REFUSED",
    "Before",
    "Family",
    "Made",
    "MomentFamily",
    "family_of",
    "fine",
    "is_coarse",
    "known_kind",
]
