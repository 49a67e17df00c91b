"""What can be set for each network; free of torch, so that a study file is checked before torch is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from regrow.errors import ConfigError
from regrow.lab.models.norm_settings import NORMS, RESIDUAL_NORMS, GainControlSettings
from regrow.lab.settings import check_at_least, check_choice

HEADS = ("flatten", "average")
POOL_SIZES = (2, 3)

_PLAIN_INITS = (
    "torch_default",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "orthogonal",
)
_SCALED_INITS = {"uniform": "BOUND", "normal": "STD", "trunc_normal": "STD[:BOUND]"}


def _above_zero(text: str) -> bool:
    """Whether a text is a number above 0, and no infinity."""
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def check_init(init: str) -> None:
    """Refuse an initialiser that `regrow.attach` could not redraw from.

    Args:
        init: ``torch_default``, ``uniform:BOUND``, ``normal:STD``, ``trunc_normal:STD``, ``trunc_normal:STD:BOUND``
            (cut off there, not at 2), ``xavier_uniform``, ``xavier_normal``, ``kaiming_uniform``, ``kaiming_normal`` or
            ``orthogonal``.

    Raises:
        ConfigError: The name is not known, or its number is missing or not above 0.

    Examples:
        >>> check_init("uniform:-1")
        Traceback (most recent call last):
        regrow.errors.ConfigError: init 'uniform:-1' needs a number above 0 after the colon
    """
    name, colon, argument = init.partition(":")
    if name in _SCALED_INITS:
        numbers = argument.split(":", 1) if name == "trunc_normal" else [argument]
        if not all(_above_zero(number) for number in numbers):
            raise ConfigError(f"init '{init}' needs a number above 0 after the colon")
    elif name not in _PLAIN_INITS or colon:
        scaled = [f"{scaled}:{argument}" for scaled, argument in _SCALED_INITS.items()]
        raise ConfigError(
            f"init must be one of {', '.join([*_PLAIN_INITS, *scaled])}, got '{init}'"
        )


@dataclass(frozen=True, kw_only=True)
class CraterCNNSettings(GainControlSettings):
    """Settings of `cratercnn`; those of gain control are described in `GainControlSettings`.

    Attributes:
        filters: Filters of each of the two convolutions.
        dense: Width of the hidden dense layer; the paper does not give it, the author's code has
            500.
        kernel: Height and width of the filters, pixels.
        padding: Zeros around each convolution's input, pixels; 0 or, as in the author's code, 1.
        norm: ``none``, ``batch``, ``group``, ``instance`` or ``gain_control``, between convolution and ReLU.
        init: Initialiser of all weights; see `check_init`. ``xavier_uniform`` (Glorot) is the
            paper's.
    """

    filters: int = 20
    dense: int = 500
    kernel: int = 4
    padding: int = 0
    norm: str = "none"
    init: str = "xavier_uniform"

    def __post_init__(self) -> None:
        check_at_least(self.filters, 1, name="filters")
        check_at_least(self.dense, 1, name="dense")
        check_at_least(self.kernel, 1, name="kernel")
        check_at_least(self.padding, 0, name="padding")
        self.check(self.norm, norms=NORMS)
        check_init(self.init)


@dataclass(frozen=True, kw_only=True)
class ConvNetSettings(GainControlSettings):
    """Settings of `convnet`; those of gain control are described in `GainControlSettings`.

    Attributes:
        depth: Number of convolutions.
        width: Filters of each.
        kernel: Height and width of the filters, pixels; odd, for the map keeps its size.
        norm: ``none``, ``batch``, ``group``, ``instance`` or ``gain_control``, between convolution and ReLU.
        pool: Whether the map is halved by max pooling after each convolution, while it is at least 4 pixels.
        pool_size: Height and width of the pooling's windows, 2 pixels apart: 2, or 3, as in the author's code, where
            they overlap and the last one hangs over the edge.
        head: ``flatten``: every pixel of the last map is read; ``average``: each filter's mean over
            the map.
        init: Initialiser of all weights; see `check_init`.
    """

    depth: int = 3
    width: int = 32
    kernel: int = 3
    norm: str = "none"
    pool: bool = True
    pool_size: int = 2
    head: str = "flatten"
    init: str = "torch_default"

    def __post_init__(self) -> None:
        check_at_least(self.depth, 1, name="depth")
        check_at_least(self.width, 1, name="width")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd and at least 1, got {self.kernel}")
        check_choice(self.pool_size, POOL_SIZES, name="pool_size")
        if not self.pool and self.pool_size != POOL_SIZES[0]:
            raise ConfigError(f"pool_size needs pool = true, got {self.pool_size} without pooling")
        self.check(self.norm, norms=NORMS)
        check_choice(self.head, HEADS, name="head")
        check_init(self.init)


@dataclass(frozen=True, kw_only=True)
class ResNetSettings(GainControlSettings):
    """Settings of `resnet20`, `resnet32` and `resnet56`; those of gain control are described in `GainControlSettings`.

    Attributes:
        width: Filters of the first stage; the second has twice, the third four times as many.
        norm: ``batch``, ``group`` or ``gain_control``, after each convolution.
        init: Initialiser of all weights; see `check_init`.
    """

    width: int = 16
    norm: str = "batch"
    init: str = "kaiming_normal"

    def __post_init__(self) -> None:
        check_at_least(self.width, 1, name="width")
        self.check(self.norm, norms=RESIDUAL_NORMS)
        check_init(self.init)
