"""A user's own network, named as ``package.module:function``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from regrow.errors import ConfigError


@contextmanager
def _current_folder_importable() -> Generator[None]:
    """Let ``nets:make`` mean ./nets.py, as it does for ``python -m``; an installed command does not look there."""
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def _find(name: str) -> Callable[..., object]:
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's file raises while it is imported
        raise ConfigError(f"model '{name}': cannot import {module_name}: {_told(error)}") from error
    function: Any = getattr(module, function_name, None)
    if function is None:
        public = [
            key
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_")
        ]
        known = ", ".join(sorted(public)) or "no functions"
        raise ConfigError(f"model '{name}': {module_name} has no {function_name}; it has: {known}")
    if not callable(function):
        raise ConfigError(
            f"model '{name}': {function_name} must be a function, it is a {type(function).__name__}"
        )
    return function


def call_user_function(
    name: str,
    *,
    in_channels: int,
    image_size: tuple[int, int],
    classes: int,
    settings: Mapping[str, object],
) -> nn.Module:
    """Import the user's function and have it build the network.

    Args:
        name: ``package.module:function``; the current folder is searched too.
        in_channels: Channels of the images, passed on by this name.
        image_size: Height and width in pixels, passed on by this name.
        classes: Number of classes, passed on by this name.
        settings: Further keyword arguments.

    Returns:
        What the function returned.

    Raises:
        ConfigError: The function cannot be imported, does not take these keywords, raises, or
            returns no `nn.Module`.
    """
    given: dict[str, object] = {
        "in_channels": in_channels,
        "image_size": image_size,
        "classes": classes,
    }
    twice = sorted(given.keys() & settings.keys())
    if twice:
        raise ConfigError(
            f"model '{name}': {twice[0]} comes from the data set and cannot be a setting"
        )
    arguments = {**given, **settings}
    with _current_folder_importable():
        function = _find(name)
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError as error:
            raise ConfigError(
                f"model '{name}': must take the keywords {', '.join(arguments)}: {error}"
            ) from error
        except ValueError:
            pass  # a function written in C has no signature to look at; calling it will tell
        try:
            model = function(**arguments)
        except (Exception, SystemExit) as error:  # whatever the user's function raises
            raise ConfigError(f"model '{name}': raised {_told(error)}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model '{name}': must return a torch.nn.Module, got {type(model).__name__}"
        )
    return model


def _told(error: BaseException) -> str:
    """A user's error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
