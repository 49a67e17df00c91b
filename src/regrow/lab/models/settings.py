"""What can be set for each network; free of torch, so that a study file is checked before torch is loaded.

Read by `lab/plan` when a study is checked, and by the builders beside it.
"""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, Self, TypedDict

from pydantic import AfterValidator, Field, model_validator

from regrow.lab.settings import Settings

Norm = Literal["none", "batch", "group", "instance", "gain_control"]
ResidualNorm = Literal["batch", "group", "gain_control"]
Activation = Literal["relu", "leaky_relu"]

GROUPS: Final = 8
"""Groups of a group norm, where that divides the width."""

LATER: Final[dict[str, object]] = {
    "gain_control_learn": "all",
    "mean_scale": 1.0,
    "start_gain": False,
}
"""Settings that came after the first results, and the values with which a network is what it was before."""


_PLAIN_INITS = (
    "torch_default",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "orthogonal",
)
# A truncated normal is cut off at its bound, or at 2.
_SCALED_INITS = {"uniform": "BOUND", "normal": "STD", "trunc_normal": "STD[:BOUND]"}


def _above_zero(text: str) -> bool:
    """Whether a text is a number above 0, and no infinity."""
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def check_init(init: str) -> str:
    """Refuse an initialiser that `regrow.attach` could not redraw from."""
    name, colon, argument = init.partition(":")
    if name in _SCALED_INITS:
        numbers = argument.split(":", 1) if name == "trunc_normal" else [argument]
        if not all(_above_zero(number) for number in numbers):
            raise ValueError(f"'{init}' needs a number above 0 after the colon")
    elif name not in _PLAIN_INITS or colon:
        scaled = [f"{scaled}:{argument}" for scaled, argument in _SCALED_INITS.items()]
        raise ValueError(f"must be one of {', '.join([*_PLAIN_INITS, *scaled])}, got '{init}'")
    return init


Init = Annotated[str, AfterValidator(check_init)]


class GainControlSettings(Settings):
    """How a network's gain control is set; the defaults where its norm is another one."""

    # What gain control learns: ``all``: mean scale k, gain g and bias b; ``gain``: g and b; ``bias``: b alone.
    gain_control_learn: Literal["all", "gain", "bias"] = "all"
    mean_scale: float = 1.0  # k at the start, or for good
    # Whether one batch of training images sets g before the first step, so that every map starts with unit standard
    # deviation; see `regrow.nn.set_start_gain_`. The laboratory does it, not `build`.
    start_gain: bool = False

    @model_validator(mode="after")
    def _belongs_to_gain_control(self) -> Self:
        # Every network declares its own, with the norms that it may have.
        norm = dict(self).get("norm")
        for name, default in LATER.items():
            if norm != "gain_control" and getattr(self, name) != default:
                raise ValueError(f"{name} needs norm 'gain_control', got norm '{norm}'")
        return self


class CraterCNNSettings(GainControlSettings):
    """Settings of `cratercnn`; those of gain control are described in `GainControlSettings`."""

    filters: int = Field(default=20, ge=1)  # filters of each of the two convolutions
    # Width of the hidden dense layer; the paper does not give it, the author's code has 500.
    dense: int = Field(default=500, ge=1)
    kernel: int = Field(default=4, ge=1)  # height and width of the filters, pixels
    # Zeros around each convolution's input, pixels; 0 or, as in the author's code, 1.
    padding: int = Field(default=0, ge=0)
    # ``none``, ``batch``, ``group``, ``instance`` or ``gain_control``, between convolution and ReLU.
    norm: Norm = "none"
    # Initialiser of all weights; see `check_init`. ``xavier_uniform`` (Glorot) is the paper's.
    init: Init = "xavier_uniform"


class ConvNetSettings(GainControlSettings):
    """Settings of `convnet`; those of gain control are described in `GainControlSettings`."""

    depth: int = Field(default=3, ge=1)  # number of convolutions
    width: int = Field(default=32, ge=1)  # filters of each
    # Height and width of the filters, pixels; odd, for the map keeps its size.
    kernel: int = Field(default=3, ge=1)
    # ``none``, ``batch``, ``group``, ``instance`` or ``gain_control``, between convolution and ReLU.
    norm: Norm = "none"
    # Whether the map is halved by max pooling after each convolution, while it is at least 4 pixels.
    pool: bool = True
    # Height and width of the pooling's windows, 2 pixels apart: 2, or 3, as in the author's code, where they
    # overlap and the last one hangs over the edge.
    pool_size: Literal[2, 3] = 2
    # ``flatten``: every pixel of the last map is read; ``average``: each filter's mean over the map.
    head: Literal["flatten", "average"] = "flatten"
    init: Init = "torch_default"  # initialiser of all weights; see `check_init`

    @model_validator(mode="after")
    def _keeps_or_halves_the_map(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if not self.pool and self.pool_size != 2:
            raise ValueError(f"pool_size needs pool = true, got {self.pool_size} without pooling")
        return self


class MLPSettings(Settings):
    """Settings of `mlp`."""

    depth: int = Field(default=2, ge=1)  # number of hidden layers
    width: int = Field(default=100, ge=1)  # units of each
    # ``none``, or ``layer``: `torch.nn.LayerNorm` over the units of a layer, in front of its activation.
    norm: Literal["none", "layer"] = "none"
    activation: Activation = "relu"  # ``relu``, or ``leaky_relu``, whose slope below 0 is 0.01
    init: Init = "torch_default"  # initialiser of all weights; see `check_init`


class StridedNetSettings(Settings):
    """Settings of `stridednet`."""

    depth: int = Field(default=2, ge=1)  # number of convolutions
    # Filters of the first; each of the others has twice as many as the one before.
    width: int = Field(default=8, ge=1)
    # Height and width of the filters, pixels; odd. Around each map are ``kernel // 2`` zeros.
    kernel: int = Field(default=3, ge=1)
    # Of each convolution, pixels: a map of n pixels becomes one of n / stride, rounded up.
    stride: int = Field(default=2, ge=1)
    dense: int = Field(default=64, ge=1)  # units of the hidden dense layer
    activation: Activation = "relu"  # ``relu``, or ``leaky_relu``, whose slope below 0 is 0.01
    init: Init = "torch_default"  # initialiser of all weights; see `check_init`

    @model_validator(mode="after")
    def _has_a_middle(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        return self


class ResNetSettings(GainControlSettings):
    """Settings of `resnet20`, `resnet32` and `resnet56` (gain control: `GainControlSettings`)."""

    # Filters of the first stage; the second has twice, the third four times as many.
    width: int = Field(default=16, ge=1)
    norm: ResidualNorm = "batch"  # ``batch``, ``group`` or ``gain_control``, after each convolution
    init: Init = "kaiming_normal"  # initialiser of all weights; see `check_init`


def groups_of(channels: int) -> int:
    """The number of groups of a group norm: 8 where that divides the width, else the largest divisor below."""
    return next(groups for groups in range(GROUPS, 0, -1) if channels % groups == 0)


ConvolutionSettings = CraterCNNSettings | ConvNetSettings | ResNetSettings
NetworkSettings = ConvolutionSettings | MLPSettings | StridedNetSettings


class Sizes(TypedDict):
    """What the data set settles."""

    in_channels: int
    image_size: tuple[int, int]
    classes: int
