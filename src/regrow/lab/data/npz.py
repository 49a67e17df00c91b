"""`npz:PATH`: the user's own arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regrow.errors import DataError
from regrow.lab.data.archive import read_archive
from regrow.lab.data.dataset import CommonSettings, RawImages

_CHANNEL_COUNTS = (1, 3, 4)


class NpzSettings(CommonSettings):
    """Settings of `npz:PATH`."""

    # Order of the image arrays' axes: ``NHW``, ``NHWC``, ``NCHW``, or ``auto``, see `to_nchw`.
    layout: Literal["auto", "NHW", "NHWC", "NCHW"] = "auto"


def to_nchw(images: NDArray[Any], *, layout: str, where: str) -> NDArray[Any]:
    """Bring images to the layout that networks take.

    ``auto``: three axes are NHW. Four axes are NHWC if the last has length 1, 3 or 4 and the second has not, NCHW if
    the second has and the last has not; anything else is not guessed.
    """
    if layout == "auto":
        last = images.ndim == 4 and images.shape[3] in _CHANNEL_COUNTS
        second = images.ndim == 4 and images.shape[1] in _CHANNEL_COUNTS
        if images.ndim == 3:
            layout = "NHW"
        elif images.ndim == 4 and last != second:
            layout = "NHWC" if last else "NCHW"
        elif images.ndim == 4:
            raise DataError(
                f"{where}: cannot tell the channel axis of shape {images.shape}; "
                "set layout to one of NHW, NHWC, NCHW"
            )
    if images.ndim != len(layout) or layout == "auto":
        wanted = "NHW, NHWC or NCHW" if layout == "auto" else layout
        raise DataError(f"{where}: images must have axes {wanted}, got shape {images.shape}")
    if layout == "NHW":
        return images[:, None]
    return np.moveaxis(images, 3, 1) if layout == "NHWC" else images


def _class_names(arrays: dict[str, NDArray[Any]], *, path: Path) -> tuple[str, ...]:
    """The names in ``classes``, else the numbers up to the largest training label."""
    if "classes" in arrays:
        names = arrays["classes"]
        if names.ndim != 1:
            raise DataError(f"{path}: classes must be a list of names, got shape {names.shape}")
        result = tuple(str(name) for name in names.tolist())
        if len(set(result)) < len(result):
            raise DataError(
                f"{path}: classes must have names of their own, got {', '.join(result)}"
            )
        return result
    labels = arrays["y_train"]
    if labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        return ("0",)  # refused with the labels themselves, where the message is made
    least = int(labels.min())
    if least < 0:
        raise DataError(
            f"{path}: y_train must number its classes from 0, got {least}; {int((labels < 0).sum())} of "
            f"{labels.size} labels are negative"
        )
    count = int(labels.max()) + 1
    if count > labels.size:
        raise DataError(
            f"{path}: y_train must number its classes 0..K-1 without gaps, got label {count - 1} "
            f"among {labels.size} images"
        )
    return tuple(str(number) for number in range(max(count, 1)))


def read_npz(settings: NpzSettings, path: Path) -> RawImages:
    """Read ``x_train``, ``y_train``, ``x_test``, ``y_test`` and, if it is there, ``classes`` from an .npz file."""
    arrays = read_archive(path, ("x_train", "y_train", "x_test", "y_test"), optional=("classes",))
    return RawImages(
        x_train=to_nchw(arrays["x_train"], layout=settings.layout, where=f"{path}: x_train"),
        y_train=arrays["y_train"],
        x_test=to_nchw(arrays["x_test"], layout=settings.layout, where=f"{path}: x_test"),
        y_test=arrays["y_test"],
        classes=_class_names(arrays, path=path),
        origin=str(path),
        split="as in the file",
    )
