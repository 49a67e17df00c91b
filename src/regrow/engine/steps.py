"""What a program is made of: one frozen record a layer, with everything that its arithmetic depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Step:
    """What each of them is."""

    path: str  # of the module, for the names of its tensors; or the name of the call


@dataclass(frozen=True, kw_only=True)
class Conv2dStep(Step):
    """A convolution with one group and zeros around its input."""

    channels: int  # C of the input
    filters: int  # O
    kernel: tuple[int, int]  # height and width, pixels
    padding: tuple[int, int]  # zeros above and below, left and right, pixels
    stride: tuple[int, int] = (1, 1)  # down and to the right, pixels
    bias: bool  # it has one

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the output; not above 0 where the input is smaller than the kernel."""
        (kh, kw), (above, left), (down, right) = self.kernel, self.padding, self.stride
        return (height + 2 * above - kh) // down + 1, (width + 2 * left - kw) // right + 1


@dataclass(frozen=True, kw_only=True)
class LinearStep(Step):
    """A dense layer."""

    features: int  # of the input
    filters: int  # O
    bias: bool  # it has one


@dataclass(frozen=True, kw_only=True)
class ReLUStep(Step):
    """Negative numbers become 0."""


@dataclass(frozen=True, kw_only=True)
class LeakyReLUStep(Step):
    """Negative numbers become `slope` times as large."""

    slope: float  # at least 0


@dataclass(frozen=True, kw_only=True)
class LayerNormStep(Step):
    """Layer normalisation over the features of a dense layer."""

    features: int  # F
    eps: float  # added to the variance
    learnt: tuple[str, ...]  # which of ``weight`` and ``bias`` it has


@dataclass(frozen=True, kw_only=True)
class MaxPool2dStep(Step):
    """The largest of each window; windows do not overlap, what is left at the edge is not read."""

    kernel: tuple[int, int]  # height and width of a window, pixels


@dataclass(frozen=True, kw_only=True)
class AveragePoolStep(Step):
    """The mean of each map."""


@dataclass(frozen=True, kw_only=True)
class FlattenStep(Step):
    """Channels and positions in one axis."""


@dataclass(frozen=True, kw_only=True)
class BatchNorm2dStep(Step):
    """Batch normalisation."""

    channels: int  # C
    eps: float  # added to the variance
    # Share of the newest batch in the running statistics; None: their plain mean over all batches.
    momentum: float | None
    affine: bool  # it has scales and shifts
    tracks: bool  # it has running statistics


@dataclass(frozen=True, kw_only=True)
class GainControl2dStep(Step):
    """Automatic gain control."""

    channels: int  # C
    positive_gain: bool  # the gain is kept as its logarithm
    relu: bool  # negative outputs become 0
    single_position: str  # what happens to maps of one position: `regrow.nn.GainControl2d`.
    learnt: tuple[str, ...]  # names of the tensors that are parameters
