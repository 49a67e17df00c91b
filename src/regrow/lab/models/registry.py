"""The networks by name.

Called by `lab/assembly` with a name and settings; the files beside it build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

from regrow._named import FORM, names_function
from regrow.errors import ConfigError, UnknownNameError
from regrow.lab.models.settings import (
    LATER,
    ConvNetSettings,
    CraterCNNSettings,
    GainControlSettings,
    MLPSettings,
    NetworkSettings,
    ResNetSettings,
    Sizes,
    StridedNetSettings,
)
from regrow.lab.settings import read_settings, settings_of
from regrow.study.later import without

if TYPE_CHECKING:  # names and settings are looked up before torch is loaded
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class _Entry:
    settings: type[NetworkSettings]
    summary: str
    depth: int = 0
    later: Mapping[str, object] = field(default_factory=dict[str, object])


_MODELS: dict[str, _Entry] = {
    "cratercnn": _Entry(
        settings=CraterCNNSettings,
        summary="2 convolutions 4x4, no pooling, one dense layer: the RandomOut paper's",
    ),
    "convnet": _Entry(
        settings=ConvNetSettings,
        summary="a plain stack of convolutions: the RePr paper's C^n(width)",
        later={"kernel": 3, "pool_size": 2},
    ),
    "mlp": _Entry(
        settings=MLPSettings,
        summary="dense layers alone, 2 of 100 units: the network of most streams of tasks",
        later={"norm": "none", "activation": "relu"},
    ),
    "stridednet": _Entry(
        settings=StridedNetSettings,
        summary="2 convolutions 3x3 with stride 2, one dense layer: a small CNN for streams of tasks",
    ),
    **{
        f"resnet{depth}": _Entry(
            settings=ResNetSettings,
            summary=f"CIFAR ResNet-{depth}, option A",
            depth=depth,
            later={"norm": "batch"},
        )
        for depth in (20, 32, 56)
    },
}


def names() -> list[str]:
    """The networks that `build` knows, beside ``package.module:function``."""
    return sorted(_MODELS)


def _entry(name: str) -> _Entry | None:
    """What is known of a network; None of a user's function."""
    if ":" in name and not names_function(name):
        raise ConfigError(f"model '{name}' must be one of {', '.join(names())}, or {FORM}")
    if ":" not in name and name not in _MODELS:
        raise UnknownNameError("model", name, [*_MODELS, FORM])
    return _MODELS.get(name)


def _read(name: str, settings: Mapping[str, object]) -> NetworkSettings | None:
    entry = _entry(name)
    return None if entry is None else read_settings(entry.settings, settings, where=f"model {name}")


def defaults(name: str) -> dict[str, object]:
    """The settings of a network and their defaults."""
    entry = _entry(name)
    found = {} if entry is None else settings_of(entry.settings)
    # The network's own first: what it shares with others it has from a parent class, whose fields come before its own.
    return {key: found[key] for key in sorted(found, key=lambda key: key in LATER)}


def distinguishing(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The settings that tell a network from others: what results are filed under.

    A setting that came after the first results is left out where it says that the network is what it was before, so
    that a results folder of that time goes on.
    """
    entry = _entry(name)
    return without(settings, {} if entry is None else {**LATER, **entry.later})


def starts_from_data(name: str, settings: Mapping[str, object]) -> bool:
    """Whether a network's gains are set by training images before its first step."""
    read = _read(name, settings)
    return isinstance(read, GainControlSettings) and read.start_gain


def summary(name: str) -> str:
    """One line on what a network of `names` is."""
    return _MODELS[name].summary


def check(name: str, settings: Mapping[str, object]) -> None:
    """Check a name and its settings without torch; of a user's function the form alone: importing runs their code."""
    _read(name, settings)


def recorded_init(name: str, settings: Mapping[str, object] | None = None) -> str | None:
    """The initialiser that a network's weights were drawn from, for ``regrow.attach(init=...)``."""
    read = _read(name, settings or {})
    return None if read is None else read.init


def build(
    name: str,
    *,
    settings: Mapping[str, object] | None = None,
    seed: int,
    **sizes: Unpack[Sizes],
) -> nn.Module:
    """Build a network whose weights depend on its seed alone; torch's global generator is as it was before.

    A user's function takes ``in_channels``, ``image_size`` (height and width), ``classes`` (1 where a number is learnt)
    and the settings as keywords and returns an `nn.Module`.

    Examples:
        >>> net = build("resnet20", in_channels=3, image_size=(32, 32), classes=10, seed=0)
        >>> sum(parameter.numel() for parameter in net.parameters())
        269722
    """
    for label, value, minimum in (
        ("in_channels", sizes["in_channels"], 1),
        ("image height", sizes["image_size"][0], 1),
        ("image width", sizes["image_size"][1], 1),
        ("classes", sizes["classes"], 1),
        ("seed", seed, 0),
    ):
        if value < minimum:
            raise ConfigError(f"{label} must be at least {minimum}, got {value} (model {name})")
    from regrow.lab.models import construct as made  # noqa: PLC0415 # loads torch

    given, entry = settings or {}, _entry(name)
    if entry is None:
        return made.drawn_from_seed(lambda: made.call_user_function(name, given, sizes), seed=seed)
    config = read_settings(entry.settings, given, where=f"model {name}")
    return made.drawn_from_seed(
        lambda: made.construct(config, depth=entry.depth, **sizes), seed=seed
    )
