"""One family of optimizers a file: what a renewed unit's memory is, and which steps must be made right."""

from regrow.surgery.optimizers.base import LEAVE, Before, Family, Made, is_coarse
from regrow.surgery.optimizers.registry import FAMILIES, REFUSED, family_of, known_kind

__all__ = [
    "FAMILIES",
    "LEAVE",
    "REFUSED",
    "Before",
    "Family",
    "Made",
    "family_of",
    "is_coarse",
    "known_kind",
]
