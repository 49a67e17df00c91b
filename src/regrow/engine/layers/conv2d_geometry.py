"""Where the numbers of a convolution lie: its unfolded input U, and what the kernel's rows and columns see of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from regrow.engine.layers.base import Layer, maps_of
from regrow.engine.steps import Conv2dStep
from regrow.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The sizes of one convolution, and views by them; rows, columns and U are those of stride 1."""

    step: Conv2dStep  # what is computed
    padded: tuple[int, int]  # height and width of the input with its border
    size: tuple[int, int]  # height and width of the output
    samples: int  # b, of one tile

    @property
    def features(self) -> int:
        """C * KW: numbers of a filter in one row of its kernel, the rows of U without that of ones."""
        return self.step.channels * self.step.kernel[1]

    @property
    def positions(self) -> int:
        """P = H_out * W_out * b: numbers of one channel of the output."""
        return self.size[0] * self.size[1] * self.samples

    @property
    def columns(self) -> int:
        """H * W_out * b: numbers of one row of U."""
        return self.padded[0] * self.size[1] * self.samples

    def row(self, columns: Tensor, number: int) -> Tensor:
        """What a row of the kernel sees of U, (..., F, H * W_out * b), which may have a row of ones at its end."""
        # The ones are the bias, which is added once a position and not once a row of the kernel.
        width = columns.shape[-2] if number == 0 else self.features
        start = number * self.size[1] * self.samples
        return columns[..., :width, start : start + self.positions]

    def windows(self, columns: Tensor) -> Tensor:
        """U with its axes apart, without the ones: (..., C, KW, H, W_out, b), a view of (..., F, H * W_out * b)."""
        wide = columns[..., : self.features, :].unflatten(
            -1, (self.padded[0], self.size[1], self.samples)
        )
        return wide.unflatten(-4, (self.step.channels, self.step.kernel[1]))

    def unfolded(self, maps: Tensor) -> Tensor:
        """What U is filled from: (..., C, KW, H, W_out, b), a view of the input with its border, (..., C, H, W, b)."""
        return maps.unfold(-2, self.step.kernel[1], 1).movedim(-1, -4)

    def moved(self, maps: Tensor, right: int) -> Tensor:
        """What a column of the kernel sees of the input with its border: (..., C, H, W_out, b), a view."""
        return maps[..., right : right + self.size[1], :]

    def inside(self, maps: Tensor) -> Tensor | None:
        """The input itself, a view of the one with its border, (..., H, W, b); None where there is no border."""
        above, left = self.step.padding
        if not (above or left):
            return None
        height, width = self.padded
        return maps[..., above : height - above, left : width - left, :]


def geometry_of(step: Conv2dStep, source: Layer) -> Geometry:
    """The sizes of a convolution; a ShapeError where the input has other channels, or is smaller than the kernel."""
    height, width = maps_of(source, channels=step.channels, path=step.path)
    padded = (height + 2 * step.padding[0], width + 2 * step.padding[1])
    size = step.size_of(height, width)
    if min(size) < 1:
        (kh, kw), (down, right) = step.kernel, padded
        raise ShapeError(
            f"'{step.path}' has a kernel of {kh}x{kw}, larger than its input with padding, {down}x{right}"
        )
    return Geometry(step=step, padded=padded, size=size, samples=source.out.shape[-1])
