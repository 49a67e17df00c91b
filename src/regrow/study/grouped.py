"""Things put together that have something in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Key = TypeVar("Key")
Thing = TypeVar("Thing")


def grouped(things: Iterable[Thing], key: Callable[[Thing], Key]) -> dict[Key, list[Thing]]:
    """Things by their key: keys in the order in which they come, things of one key as well.

    Examples:
        >>> grouped([1, 2, 3, 4, 5], lambda number: "even" if number % 2 == 0 else "odd")
        {'odd': [1, 3, 5], 'even': [2, 4]}
    """
    found: dict[Key, list[Thing]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return found
