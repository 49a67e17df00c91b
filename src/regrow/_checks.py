"""Checks of arguments where they enter, with one form of message for the whole package."""

from __future__ import annotations

import math
from collections.abc import Sequence

from regrow.errors import ConfigError


def check_fraction(value: float, *, name: str, where: str) -> None:
    """Refuse a share outside [0, 1].

    Args:
        value: The share.
        name: The argument's name.
        where: Who asked, for the message.

    Raises:
        ConfigError: `value` is not within [0, 1].
    """
    if not (_is_number(value) and 0.0 <= value <= 1.0):
        raise ConfigError(f"{name} must be within [0, 1], got {value!r} ({where})")


def check_positive(value: float, *, name: str, where: str) -> None:
    """Refuse zero, negative and non-finite numbers.

    Args:
        value: The number.
        name: The argument's name.
        where: Who asked, for the message.

    Raises:
        ConfigError: `value` is not a finite number above 0.
    """
    if not (_is_number(value) and value > 0 and math.isfinite(value)):
        raise ConfigError(f"{name} must be above 0, got {value!r} ({where})")


def check_not_negative(value: float, *, name: str, where: str) -> None:
    """Refuse negative numbers and NaN.

    Args:
        value: The number.
        name: The argument's name.
        where: Who asked, for the message.

    Raises:
        ConfigError: `value` is not at least 0.
    """
    if not (_is_number(value) and value >= 0):
        raise ConfigError(f"{name} must be at least 0, got {value!r} ({where})")


def check_finite(value: float, *, name: str, where: str) -> None:
    """Refuse what is no finite number.

    Args:
        value: The number.
        name: The argument's name.
        where: Who asked, for the message.

    Raises:
        ConfigError: `value` is not a finite number.
    """
    if not (_is_number(value) and math.isfinite(value)):
        raise ConfigError(f"{name} must be a finite number, got {value!r} ({where})")


def check_whole(value: object, *, name: str, where: str, least: int = 0) -> None:
    """Refuse what is no whole number, or a smaller one.

    Args:
        value: The number.
        name: The argument's name.
        where: Who asked, for the message.
        least: The smallest that may be.

    Raises:
        ConfigError: `value` is not a whole number of at least `least`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(
            f"{name} must be a whole number of at least {least}, got {value!r} ({where})"
        )


def check_flag(value: object, *, name: str, where: str) -> None:
    """Refuse what is neither true nor false.

    Args:
        value: The flag.
        name: The argument's name.
        where: Who asked, for the message.

    Raises:
        ConfigError: `value` is not a bool.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {value!r} ({where})")


def check_choice(value: object, known: Sequence[str], *, name: str, where: str) -> None:
    """Refuse what is none of some words.

    Args:
        value: The word.
        known: Two or more, of which it must be one.
        name: The argument's name.
        where: Who asked, for the message.

    Raises:
        ConfigError: `value` is none of them.

    Examples:
        >>> check_choice("row", ("sum", "mean"), name="combine", where="doc")
        Traceback (most recent call last):
            ...
        regrow.errors.ConfigError: combine must be 'sum' or 'mean', got 'row' (doc)
    """
    if value not in known:
        *words, last = map(repr, known)
        raise ConfigError(f"{name} must be {', '.join(words)} or {last}, got {value!r} ({where})")


def _is_number(value: object) -> bool:
    """A text that reads like one is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
