"""The three ways to bring pixel values to the scale that a network trains on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrow.errors import ConfigError, DataError

SCALES = ("standard", "unit", "per_image")

_Rule = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_BLOCK = 4096  # images worked on at once in float64, so that a large set does not need eight times its size


def _channel_moments(images: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and population standard deviation of each channel, (C, 1, 1), by two passes in float64."""
    count = images.shape[0] * images.shape[2] * images.shape[3]
    blocks = range(0, len(images), _BLOCK)
    total = sum(images[i : i + _BLOCK].sum(axis=(0, 2, 3), dtype=np.float64) for i in blocks)
    mean = (total / count)[:, None, None]
    squares = sum(np.square(images[i : i + _BLOCK] - mean).sum(axis=(0, 2, 3)) for i in blocks)
    return mean, np.sqrt(squares / count)[:, None, None]


def _changed(images: NDArray[Any], change: _Rule) -> NDArray[np.float32]:
    """Images changed in float64, rounded once to float32."""
    result = np.empty(images.shape, np.float32)
    for i in range(0, len(images), _BLOCK):
        result[i : i + _BLOCK] = change(images[i : i + _BLOCK].astype(np.float64))
    return result


def _per_image(block: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = block - block.mean(axis=(1, 2, 3), keepdims=True)
    std = centred.std(axis=(1, 2, 3), keepdims=True)
    flat = block.max(axis=(1, 2, 3), keepdims=True) == block.min(axis=(1, 2, 3), keepdims=True)
    return np.where(flat, 0.0, centred / np.where(flat, 1.0, std))


def _white(train: NDArray[Any], maximum: float | None) -> float:
    """The value that ``unit`` maps to 1."""
    if maximum is not None:
        return maximum
    if train.dtype == np.uint8:
        return 255.0
    low, high = float(train.min()), float(train.max())
    if low < 0:
        raise ConfigError(f"scale 'unit' needs pixel values of at least 0, the smallest is {low:g}")
    if high == 0:
        raise DataError("scale 'unit' needs a pixel value above 0, all are 0")
    return 1.0 if high <= 1.0 else high


def scaled(
    train: NDArray[Any], test: NDArray[Any], *, scale: str, maximum: float | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale training and test images by one rule, learned from the training images alone.

    ``standard``  x' = (x - mean_c) / std_c: mean and population standard deviation of channel c over the training
                  images
    ``unit``      x' = x / white: `maximum` if given; 255 for uint8; for floating images 1 if they lie in [0, 1], else
                  the largest value of the training images, so that a brighter test image exceeds 1
    ``per_image`` x' = (x - mean_x) / std_x, over all pixels and channels of the image itself; 0 where all are equal
    """
    with np.errstate(all="ignore"):  # what comes out is looked at instead
        rule = _rule(train, scale=scale, maximum=maximum)
        found = _changed(train, rule), _changed(test, rule)
    for part, images, result in zip(("training", "test"), (train, test), found, strict=True):
        _check_range(images, result, part=part, scale=scale)
    return found


def _rule(train: NDArray[Any], *, scale: str, maximum: float | None) -> _Rule:
    """What is done to the numbers of an image."""
    if scale == "per_image":
        return _per_image
    if scale == "unit":
        white = _white(train, maximum)
        return lambda block: block / white
    if scale == "standard":
        mean, std = _channel_moments(train)
        low, high = train.min(axis=(0, 2, 3)), train.max(axis=(0, 2, 3))
        if (low == high).any():
            channel = int(np.argmax(low == high))
            raise DataError(
                f"scale 'standard' needs pixel values that vary, channel {channel} is {low[channel]} throughout"
            )
        return lambda block: (block - mean) / std
    raise ConfigError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")


def _check_range(
    images: NDArray[Any], result: NDArray[np.float32], *, part: str, scale: str
) -> None:
    """Values so small, or so far from the others, that the scaled ones are no numbers of float32 any more."""
    for i in range(0, len(result), _BLOCK):
        finite = np.isfinite(result[i : i + _BLOCK]).all(axis=(1, 2, 3))
        if not finite.all():
            number = i + int(np.argmin(finite))
            low, high = images[number].min(), images[number].max()
            raise DataError(
                f"scale '{scale}' must keep images within float32's range, {part} image {number}, with values from "
                f"{low:g} to {high:g}, leaves it"
            )
