"""A share of so many units, as a whole number."""

from __future__ import annotations

import math


def share_of(fraction: float, count: int) -> int:
    """Rounded down, but for what floating point has lost: 0.29 of 100 is 29."""
    return math.floor(fraction * count + 1e-9)
