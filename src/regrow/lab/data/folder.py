"""`folder:PATH`: the user's own image files, one folder a class.

One of the sources of `lab/data/registry`; gives the `RawImages` that a `Dataset` is made of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regrow.errors import DataError, MissingExtraError
from regrow.lab.data.dataset import CommonSettings, RawImages
from regrow.lab.data.split import SplitSeed, frozen_generator, stratified_test_mask

_GREY_MODES = frozenset({"1", "L", "LA"})
_COLOUR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})


class FolderSettings(CommonSettings):
    """Settings of `folder:PATH`."""

    # Height and width that every image is resized to (bilinear, smoothed when shrunk), pixels; None: images must
    # have one size already.
    size: int | None = Field(default=None, ge=1)
    # ``grey``, ``rgb``, or ``auto``: grey if every file is grey, else colour. Transparency is dropped.
    colour: Literal["auto", "grey", "rgb"] = "auto"
    # Seed of the split, where the folder is not divided into ``train`` and ``test``.
    split_seed: SplitSeed = 0
    # Share of each class that is tested on, in that case.
    test_fraction: float = Field(default=0.5, gt=0, lt=1)


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _class_folders(folder: Path) -> list[Path]:
    entries = _visible(folder)
    loose = [entry for entry in entries if not entry.is_dir()]
    if loose:
        raise DataError(
            f"{folder}: must hold one folder a class and nothing else, got the file {loose[0].name}"
        )
    if len(entries) < 2:
        raise DataError(f"{folder}: must hold at least 2 folders, one a class, got {len(entries)}")
    return entries


def _pixels(path: Path, settings: FolderSettings) -> NDArray[np.uint8]:
    """One file as (C, H, W), reduced before the next one is read: photographs are large, and networks' images small.

    A grey file has one channel, also where others will turn out to be in colour: its three would be the same.
    """
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 # only this source reads image files
    except ImportError as error:
        raise MissingExtraError("pillow", extra="lab") from error
    try:
        with Image.open(path) as file:
            # A camera stores the picture as its sensor lies, and beside it how it was held.
            image = ImageOps.exif_transpose(file)
            if file.mode not in _GREY_MODES | _COLOUR_MODES:
                raise DataError(
                    f"{path}: must have 8 bits a channel, got an image of mode {file.mode}"
                )
            grey = settings.colour == "grey" or (
                settings.colour == "auto" and file.mode in _GREY_MODES
            )
            image = image.convert("L" if grey else "RGB")
        if settings.size is not None:
            image = image.resize((settings.size, settings.size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
    except DataError:
        raise
    except Exception as error:  # whatever the file makes the library raise
        raise DataError(
            f"{path}: must be a whole, readable image: {str(error) or type(error).__name__}"
        ) from error
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def _files(folders: list[Path]) -> list[tuple[int, Path]]:
    """The number of its class and the path of every image, in the order of class and file name."""
    found: list[tuple[int, Path]] = []
    for label, folder in enumerate(folders):
        files = _visible(folder)
        if not files:
            raise DataError(f"{folder}: must hold at least one image of its class, it is empty")
        for path in files:
            if path.is_dir():
                raise DataError(f"{folder}: must hold image files only, got the folder {path.name}")
            found.append((label, path))
    return found


def _read(paths: list[Path], settings: FolderSettings) -> NDArray[np.uint8]:
    """All images, (N, C, H, W)."""
    found: list[NDArray[np.uint8]] = []
    for path in paths:
        pixels = _pixels(path, settings)
        first, came = (
            f"{each.shape[2]}x{each.shape[1]}" for each in ((found or [pixels])[0], pixels)
        )
        if came != first:
            raise DataError(
                f"{path}: images must have one size, got {came} after {first}; set size to resize them all"
            )
        found.append(pixels)
    channels = max(len(pixels) for pixels in found)
    return np.stack([np.broadcast_to(each, (channels, *each.shape[1:])) for each in found])


def read_folder(settings: FolderSettings, path: Path) -> RawImages:
    """Read image files, with the folders' names as classes, in alphabetical order.

    Two arrangements: ``PATH/train/CLASS/file`` with ``PATH/test/CLASS/file``, or ``PATH/CLASS/file``, which is split at
    random in the same ratio for each class. Hidden files are passed over; any other file must be an image.
    """
    if not path.is_dir():
        raise DataError(
            f"{path}: must be a folder of images, there is {'a file' if path.is_file() else 'nothing'}"
        )
    sides = [side for side in ("train", "test") if (path / side).is_dir()]
    if len(sides) == 1:
        gone = "test" if sides == ["train"] else "train"
        raise DataError(
            f"{path}: must hold both train and test, or neither, got {sides[0]} without {gone}"
        )
    folders = [_class_folders(path / side) for side in sides] or [_class_folders(path)]
    names = [[folder.name for folder in side] for side in folders]
    if odd := set(names[0]) ^ set(names[-1]):
        name = min(odd)
        holder, other = ("train", "test") if name in names[0] else ("test", "train")
        raise DataError(
            f"{path}: train and test must hold the same classes, '{name}' is in {holder}, not in {other}"
        )
    parts = [_files(side) for side in folders]
    files = [file for part in parts for file in part]
    images = _read([file for _, file in files], settings)
    labels = np.array([label for label, _ in files], np.int64)
    test = np.arange(len(files)) >= len(parts[0])
    split = "folders train and test"
    if not sides:
        test = stratified_test_mask(
            labels,
            frozen_generator(settings.split_seed),
            test_fraction=settings.test_fraction,
            where=str(path),
        )
        split = f"stratified, {settings.test_fraction:g} for testing, seed {settings.split_seed}"
    return RawImages.divided(
        images,
        labels,
        test=test,
        seed=settings.split_seed,
        classes=tuple(names[0]),
        origin=str(path),
        split=split,
    )
