"""What a program is made of: one frozen record a layer, with everything that its arithmetic depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True)
class Conv2dStep:
    """A convolution with one group and zeros around its input.

    Attributes:
        path: Of the module, for the names of its tensors.
        channels: C of the input.
        filters: O.
        kernel: Height and width, pixels.
        padding: Zeros above and below, left and right, pixels.
        stride: Down and to the right, pixels.
        bias: It has one.
    """

    path: str
    channels: int
    filters: int
    kernel: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    bias: bool

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
    """A dense layer.

    Attributes:
        path: Of the module.
        features: Of the input.
        filters: O.
        bias: It has one.
    """

    path: str
    features: int
    filters: int
    bias: bool


@dataclass(frozen=True, kw_only=True)
class ReLUStep:
    """Negative numbers become 0.

    Attributes:
        path: Of the module, or the name of the call.
    """

    path: str


@dataclass(frozen=True, kw_only=True)
class LeakyReLUStep:
    """Negative numbers become `slope` times as large.

    Attributes:
        path: Of the module, or the name of the call.
        slope: At least 0.
    """

    path: str
    slope: float


@dataclass(frozen=True, kw_only=True)
class LayerNormStep:
    """Layer normalisation over the features of a dense layer.

    Attributes:
        path: Of the module.
        features: F.
        eps: Added to the variance.
        learnt: Which of ``weight`` and ``bias`` it has.
    """

    path: str
    features: int
    eps: float
    learnt: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MaxPool2dStep:
    """The largest of each window; windows do not overlap, what is left at the edge is not read.

    Attributes:
        path: Of the module.
        kernel: Height and width of a window, pixels.
    """

    path: str
    kernel: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class AveragePoolStep:
    """The mean of each map.

    Attributes:
        path: Of the module.
    """

    path: str


@dataclass(frozen=True, kw_only=True)
class FlattenStep:
    """Channels and positions in one axis.

    Attributes:
        path: Of the module, or the name of the call.
    """

    path: str


@dataclass(frozen=True, kw_only=True)
class BatchNorm2dStep:
    """Batch normalisation.

    Attributes:
        path: Of the module.
        channels: C.
        eps: Added to the variance.
        momentum: Share of the newest batch in the running statistics; None: their plain mean over all batches.
        affine: It has scales and shifts.
        tracks: It has running statistics.
    """

    path: str
    channels: int
    eps: float
    momentum: float | None
    affine: bool
    tracks: bool


@dataclass(frozen=True, kw_only=True)
class GainControl2dStep:
    """Automatic gain control.

    Attributes:
        path: Of the module.
        channels: C.
        positive_gain: The gain is kept as its logarithm.
        relu: Negative outputs become 0.
        single_position: What happens to maps of one position: `regrow.nn.GainControl2d`.
        learnt: Names of the tensors that are parameters.
    """

    path: str
    channels: int
    positive_gain: bool
    relu: bool
    single_position: str
    learnt: tuple[str, ...]


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
