"""How what trials are judged by is written, and which way is better: an error is no accuracy, less no harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from regrow.report import wording

_DIGITS: Final = 3  # of an error behind the point

_LARGE: Final = 1000.0
"""Errors from here on are those of a network that has blown up: three digits of them will do."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Numbers of one kind."""

    name: str  # what one is called where it is short
    lower: bool  # less is better
    scale: float  # what a number is multiplied by where it is drawn
    of_value: str = ""  # behind the heading or the axis of values
    of_difference: str = ""  # behind the heading of differences
    of_drawn_difference: str = ""  # behind the axis of differences
    sign: str = ""  # behind a value in a sentence
    apart: str = ""  # behind a difference in a sentence

    def value(self, number: float | None) -> str:
        """Write a number."""
        if not self.lower:
            return wording.percent(number)
        if number is None:
            return wording.NOTHING
        return f"{number:.3g}" if number >= _LARGE else wording.decimal(number, digits=_DIGITS)

    def difference(self, number: float | None) -> str:
        """Write a difference of two, with its sign."""
        if not self.lower:
            return wording.points(number)
        return wording.NOTHING if number is None else _error(number)

    def interval(self, low: float | None, high: float | None) -> str:
        """Write the two ends of an interval of a difference; an end that is not 0 is never written as 0."""
        if not self.lower:
            return wording.interval(low, high)
        return wording.interval(low, high, write=_error, digits=_DIGITS, most=6)

    def is_better(self, low: float | None, high: float | None) -> bool:
        """Whether an interval of differences lies on the better side of 0."""
        if low is None or high is None:
            return False
        return high < 0 if self.lower else low > 0

    def is_worse(self, low: float | None, high: float | None) -> bool:
        """Whether it lies on the other side."""
        return low is not None and high is not None and self.is_better(-high, -low)

    def worth(self, number: float) -> float:
        """A number that is the larger the better."""
        return -number if self.lower else number


ACCURACY: Final = Unit(
    name="accuracy",
    lower=False,
    scale=100.0,
    of_value=" (%)",
    of_difference=" (points)",
    of_drawn_difference=" (percentage points)",
    sign=" %",
    apart=" points",
)
"""Shares of right answers, 0 to 1: written in percent, differences in percentage points."""

ERROR: Final = Unit(name="error", lower=True, scale=1.0)
"""Mean squared errors, in the unit of the target squared: less is better."""


def _error(number: float, *, digits: int = _DIGITS) -> str:
    if abs(number) >= _LARGE:
        return f"{number:+.3g}".replace("-", wording.MINUS)
    return wording.signed(number, digits=digits)
