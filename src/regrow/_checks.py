"""Checks of arguments where they enter, with one form of message for the whole package: a ConfigError.

`name` is the argument's, `where` says who asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from regrow.errors import ConfigError


def check_fraction(value: float, *, name: str, where: str) -> None:
    """Refuse a share outside [0, 1]."""
    if not (_is_number(value) and 0.0 <= value <= 1.0):
        raise ConfigError(f"{name} must be within [0, 1], got {value!r} ({where})")


def check_decay(value: float, *, where: str) -> None:
    """Refuse what no running average can be made with."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ConfigError(f"decay must be within [0, 1), got {value!r} ({where})")


def check_positive(value: float, *, name: str, where: str) -> None:
    """Refuse zero, negative and non-finite numbers."""
    if not (_is_number(value) and value > 0 and math.isfinite(value)):
        raise ConfigError(f"{name} must be above 0, got {value!r} ({where})")


def check_not_negative(value: float, *, name: str, where: str) -> None:
    """Refuse negative numbers and NaN."""
    if not (_is_number(value) and value >= 0):
        raise ConfigError(f"{name} must be at least 0, got {value!r} ({where})")


def check_finite(value: float, *, name: str, where: str) -> None:
    """Refuse what is no finite number."""
    if not (_is_number(value) and math.isfinite(value)):
        raise ConfigError(f"{name} must be a finite number, got {value!r} ({where})")


def check_whole(value: object, *, name: str, where: str, least: int = 0) -> None:
    """Refuse what is no whole number, or a smaller one."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(
            f"{name} must be a whole number of at least {least}, got {value!r} ({where})"
        )


def check_flag(value: object, *, name: str, where: str) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {value!r} ({where})")


def check_choice(value: object, known: Sequence[str], *, name: str, where: str) -> None:
    """Refuse what is none of some words, of which there are two or more."""
    if value not in known:
        *words, last = map(repr, known)
        raise ConfigError(f"{name} must be {', '.join(words)} or {last}, got {value!r} ({where})")


def _is_number(value: object) -> bool:
    """A text that reads like one is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
