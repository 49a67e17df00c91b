"""What a program is made of: one frozen record a layer, with everything that its arithmetic depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Conv2dStep:
    """A convolution with one group and zeros around its input."""

    path: str  # of the module, for the names of its tensors
    channels: int  # c of the input
    filters: int  # o
    kernel: tuple[int, int]  # height and width, pixels
    padding: tuple[int, int]  # zeros above and below, left and right, pixels
    stride: tuple[int, int] = (1, 1)  # down and to the right, pixels
    bias: bool  # it has one

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output; not above 0 where the input is smaller than the kernel."""
        down, right = (
            (side + 2 * zeros - kernel) // stride + 1
            for side, zeros, kernel, stride in zip(
                (height, width), self.padding, self.kernel, self.stride, strict=True
            )
        )
        return down, right


@dataclass(frozen=True, kw_only=True)
class LinearStep:
    """A dense layer."""

    path: str  # of the module
    features: int  # of the input
    filters: int  # o
    bias: bool  # it has one


@dataclass(frozen=True, kw_only=True)
class ReLUStep:
    """Negative numbers become 0."""

    path: str  # of the module, or the name of the call


@dataclass(frozen=True, kw_only=True)
class LeakyReLUStep:
    """Negative numbers become `slope` times as large."""

    path: str  # of the module, or the name of the call
    slope: float  # at least 0


@dataclass(frozen=True, kw_only=True)
class LayerNormStep:
    """Layer normalisation over the features of a dense layer."""

    path: str  # of the module
    features: int  # f
    eps: float  # added to the variance
    learnt: tuple[str, ...]  # which of ``weight`` and ``bias`` it has


@dataclass(frozen=True, kw_only=True)
class MaxPool2dStep:
    """The largest of each window; windows do not overlap, what is left at the edge is not read."""

    path: str  # of the module
    kernel: tuple[int, int]  # height and width of a window, pixels


@dataclass(frozen=True, kw_only=True)
class AveragePoolStep:
    """The mean of each map."""

    path: str  # of the module


@dataclass(frozen=True, kw_only=True)
class FlattenStep:
    """Channels and positions in one axis."""

    path: str  # of the module, or the name of the call


@dataclass(frozen=True, kw_only=True)
class BatchNorm2dStep:
    """Batch normalisation."""

    path: str  # of the module
    channels: int  # c
    eps: float  # added to the variance
    # Share of the newest batch in the running statistics; None: their plain mean over all batches.
    momentum: float | None
    affine: bool  # it has scales and shifts
    tracks: bool  # it has running statistics


@dataclass(frozen=True, kw_only=True)
class GainControl2dStep:
    """Automatic gain control."""

    path: str  # of the module
    channels: int  # c
    positive_gain: bool  # the gain is kept as its logarithm
    relu: bool  # negative outputs become 0
    single_position: str  # what happens to maps of one position: `regrow.nn.GainControl2d`.
    learnt: tuple[str, ...]  # names of the tensors that are parameters


Step: TypeAlias = (
    Conv2dStep
    | LinearStep
    | ReLUStep
    | LeakyReLUStep
    | LayerNormStep
    | MaxPool2dStep
    | AveragePoolStep
    | FlattenStep
    | BatchNorm2dStep
    | GainControl2dStep
)
