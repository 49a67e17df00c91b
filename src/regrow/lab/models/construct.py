"""Networks from their settings or by a user's function, with weights that depend on a seed alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Unpack

import torch
from torch import nn

from regrow._named import current_folder_importable, imported, in_one_line
from regrow.errors import ConfigError
from regrow.lab.models.convnet import ConvNet
from regrow.lab.models.cratercnn import CraterCNN
from regrow.lab.models.mlp import MLP
from regrow.lab.models.resnet import ResNet
from regrow.lab.models.settings import (
    ConvNetSettings,
    MLPSettings,
    NetworkSettings,
    ResNetSettings,
    Sizes,
    StridedNetSettings,
)
from regrow.lab.models.stridednet import StridedNet


def construct(settings: NetworkSettings, *, depth: int, **sizes: Unpack[Sizes]) -> nn.Module:
    """Build the network that a settings class belongs to, with weights from torch's generator; `depth`: of a ResNet."""
    if isinstance(settings, ResNetSettings):
        return ResNet(depth=depth, settings=settings, **sizes)
    if isinstance(settings, MLPSettings):
        return MLP(settings=settings, **sizes)
    if isinstance(settings, StridedNetSettings):
        return StridedNet(settings=settings, **sizes)
    if isinstance(settings, ConvNetSettings):
        return ConvNet(settings=settings, **sizes)
    return CraterCNN(settings=settings, **sizes)


def drawn_from_seed(make: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Call `make` with torch's CPU generator set to a seed, and put the generator back, also after an error."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would set the accelerators' generators too, and nothing would put them back.
        torch.default_generator.manual_seed(seed)
        return make()


def call_user_function(name: str, settings: Mapping[str, object], sizes: Sizes) -> nn.Module:
    """Import the user's function and have it build the network."""
    twice = sorted(sizes.keys() & settings.keys())
    if twice:
        raise ConfigError(
            f"model '{name}': {twice[0]} comes from the data set and cannot be a setting"
        )
    arguments = {**sizes, **settings}
    function = imported(name, kind="model")
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"model '{name}': must take the keywords {', '.join(arguments)}: {error}"
        ) from error
    except ValueError:
        pass  # a function written in C has no signature to look at; calling it will tell
    return made_by(function, name, **arguments)


def made_by(function: Callable[..., object], name: str, /, **arguments: object) -> nn.Module:
    """The network that a user's function makes."""
    try:
        with current_folder_importable():
            model = function(**arguments)
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise ConfigError(f"model '{name}': raised {in_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model '{name}': must return a torch.nn.Module, got {type(model).__name__}"
        )
    return model
