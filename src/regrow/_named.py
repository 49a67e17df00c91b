"""What a user names as ``package.module:function``: imported, with one clear line for each mistake."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regrow.errors import ConfigError

FORM = "package.module:function"


def names_function(name: str) -> bool:
    """Tell a user's function from other names.

    Args:
        name: Any text.

    Returns:
        Whether it has the form ``package.module:function``.

    Examples:
        >>> names_function("mine.parts:redo"), names_function("npz:some/file"), names_function("redo")
        (True, False, False)
    """
    module, colon, function = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [function, *module.split(".")])


@contextmanager
def current_folder_importable() -> Generator[None]:
    """Let ``mine:redo`` mean ./mine.py, as it does for ``python -m``; an installed command does not look there."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def imported(name: str, *, kind: str) -> Callable[..., object]:
    """Import a function that is named like this; the current folder is searched too.

    A ConfigError, by the `kind` of what it makes, where the module raises, lacks the function, or has something else by
    its name.
    """
    module_name, _, function_name = name.partition(":")
    try:
        with current_folder_importable():
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's file raises while it is imported
        raise ConfigError(
            f"{kind} '{name}': cannot import {module_name}: {in_one_line(error)}"
        ) from error
    function: Any = getattr(module, function_name, None)
    if function is None:
        public = [
            key
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_")
        ]
        known = ", ".join(sorted(public)) or "no functions"
        raise ConfigError(f"{kind} '{name}': {module_name} has no {function_name}; it has: {known}")
    if not callable(function):
        raise ConfigError(
            f"{kind} '{name}': {function_name} must be a function, it is a {type(function).__name__}"
        )
    return function


def in_one_line(error: BaseException) -> str:
    """A user's error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
