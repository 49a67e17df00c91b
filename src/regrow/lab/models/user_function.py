"""A user's own network, named as ``package.module:function``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from regrow._named import current_folder_importable, imported, in_one_line
from regrow.errors import ConfigError
from regrow.lab.models.settings import Sizes


def call_user_function(name: str, settings: Mapping[str, object], sizes: Sizes) -> nn.Module:
    """Import the user's function and have it build the network."""
    twice = sorted(sizes.keys() & settings.keys())
    if twice:
        raise ConfigError(
            f"model '{name}': {twice[0]} comes from the data set and cannot be a setting"
        )
    arguments = {**sizes, **settings}
    function = imported(name, kind="model")
    with current_folder_importable():
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
            raise ConfigError(f"model '{name}': raised {in_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model '{name}': must return a torch.nn.Module, got {type(model).__name__}"
        )
    return model
