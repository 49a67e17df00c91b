"""What the caller calls an argument: a recipe's setting often has another name than the argument of its part."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_WORDS: ContextVar[Mapping[str, str]] = ContextVar("words")


@contextmanager
def called(words: Mapping[str, str]) -> Generator[None]:
    """While parts are made or bound, let their messages name the caller's own arguments. Also a decorator.

    Args:
        words: Name of a part's argument to the name that the caller wrote.

    Examples:
        >>> with called({"steps": "every_steps"}):
        ...     said("steps"), said("epochs")
        ('every_steps', 'epochs')
    """
    before = _WORDS.set(words)
    try:
        yield
    finally:
        _WORDS.reset(before)


def words() -> Mapping[str, str]:
    """What is called otherwise here, for who will speak of it later."""
    return _WORDS.get({})


def said(name: str) -> str:
    """How the caller calls an argument.

    Args:
        name: The argument.

    Returns:
        The caller's word; the argument's own name where it was written as it is.
    """
    return _WORDS.get({}).get(name, name)
