"""One unit, two units: nouns as their number has them."""

from __future__ import annotations


def plural(number: int, one: str, many: str | None = None) -> str:
    """A noun, or a noun and its verb, for so many of them."""
    return one if number == 1 else many or one + "s"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{number} {plural(number, one, many)}"
