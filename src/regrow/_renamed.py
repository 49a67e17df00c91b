"""Old spellings: a class says how an argument is spelled now, a module a name, instead of that it does not know it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Never, TypeVar

Kind = TypeVar("Kind")


def renamed(words: Mapping[str, str]) -> Callable[[type[Kind]], type[Kind]]:
    """Refuse old names of a class's arguments by the new ones.

    Args:
        words: Old name to what is written now.

    Returns:
        A decorator of the class.

    Examples:
        >>> @renamed({"full": "s1"})
        ... class Cycle:
        ...     def __init__(self, *, s1: int) -> None: ...
        >>> Cycle(full=3)
        Traceback (most recent call last):
            ...
        TypeError: Cycle: full is now s1
    """

    def refuse_old(kind: type[Kind]) -> type[Kind]:
        init = kind.__init__

        @functools.wraps(init)
        def checked(self: Kind, *args: Any, **given: Any) -> None:
            for name in given:
                if name in words:
                    raise TypeError(f"{kind.__name__}: {name} is now {words[name]}")
            init(self, *args, **given)

        kind.__init__ = checked
        return kind

    return refuse_old


def renamed_in(module: str, words: Mapping[str, str]) -> Callable[[str], Never]:
    """Refuse old names of a module's classes by the new ones.

    Args:
        module: Its ``__name__``.
        words: Old name to new name.

    Returns:
        What the module has for ``__getattr__``.

    Examples:
        >>> renamed_in("shop", {"Sold": "Sale"})("Sold")
        Traceback (most recent call last):
            ...
        AttributeError: shop.Sold is now shop.Sale
    """

    def refuse_old(name: str) -> Never:
        if name in words:
            raise AttributeError(f"{module}.{name} is now {module}.{words[name]}")
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    return refuse_old
