"""How many samples a convolution should work on at once, by the size of its unfolded input."""

from __future__ import annotations

from typing import Final

import torch

from regrow.engine.program import Program
from regrow.engine.steps import AveragePoolStep, Conv2dStep, MaxPool2dStep

LEAST: Final = 32
"""Samples: shorter runs make copies and matrix products slow, whatever fits into the cache."""

ROOM: Final = 5 << 18
"""Bytes of the largest unfolded input of a tile: about what stays in the cache of one core. Larger tiles need fewer
calls, which is most of the time of small networks."""


def samples_of_tile(program: Program, shape: tuple[int, ...], *, dtype: torch.dtype) -> int:
    """As many as have room, by the network alone: how many others are in the stack must change nothing."""
    if len(shape) != 3:
        return LEAST
    _, height, width = shape
    # Shapes that do not fit the layers give any number; the layers refuse them.
    largest = 1
    for step in program.steps:
        if isinstance(step, Conv2dStep):
            kh, kw = step.kernel
            rows = height + 2 * step.padding[0]
            height, width = step.size_of(height, width)
            if step.stride == (1, 1):  # only columns are unfolded: the full height stays
                numbers = (step.channels * kw + step.bias) * rows * width
            else:
                numbers = step.channels * kh * kw * height * width
            largest = max(largest, numbers)
        elif isinstance(step, MaxPool2dStep):
            height, width = height // step.kernel[0], width // step.kernel[1]
        elif isinstance(step, AveragePoolStep):
            height, width = 1, 1
    return max(LEAST, ROOM // (largest * dtype.itemsize))
