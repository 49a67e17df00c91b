"""`folder:PATH`: the user's own image files, one folder a class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regrow.errors import DataError, MissingExtraError
from regrow.lab.data.dataset import CommonSettings, RawImages
from regrow.lab.data.split import SplitSeed, frozen_generator, shuffled, stratified_test_mask

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY_MODES = frozenset({"1", "L", "LA"})
_COLOUR_MODES = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"})


class FolderSettings(CommonSettings):
    """Settings of `folder:PATH`.

    Attributes:
        size: Height and width that every image is resized to (bilinear, smoothed when shrunk),
            pixels; None: images must have one size already.
        colour: ``grey``, ``rgb``, or ``auto``: grey if every file is grey, else colour.
            Transparency is dropped.
        split_seed: Seed of the split, where the folder is not divided into ``train`` and ``test``.
        test_fraction: Share of each class that is tested on, in that case.
    """

    size: int | None = Field(default=None, ge=1)
    colour: Literal["auto", "grey", "rgb"] = "auto"
    split_seed: SplitSeed = 0
    test_fraction: float = Field(default=0.5, gt=0, lt=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Decoded images of one folder of classes, in the order of class and file name."""

    images: list[Image]
    paths: list[Path]
    labels: NDArray[np.int64]


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


def _decode(path: Path) -> Image:
    try:
        from PIL import Image  # noqa: PLC0415 # only this source reads image files
    except ImportError as error:
        raise MissingExtraError("pillow", extra="lab") from error
    try:
        with Image.open(path) as image:
            image.load()
            decoded = image.copy()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: must be a whole, readable image: {error}") from error
    if decoded.mode not in _GREY_MODES | _COLOUR_MODES:
        raise DataError(f"{path}: must have 8 bits a channel, got an image of mode {decoded.mode}")
    return decoded


def _read_part(folders: list[Path]) -> _Part:
    images: list[Image] = []
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        files = _visible(folder)
        if not files:
            raise DataError(f"{folder}: must hold at least one image of its class, it is empty")
        for path in files:
            if path.is_dir():
                raise DataError(f"{folder}: must hold image files only, got the folder {path.name}")
            images.append(_decode(path))
            paths.append(path)
            labels.append(label)
    return _Part(images=images, paths=paths, labels=np.array(labels, np.int64))


def _pixels(part: _Part, *, mode: str, size: int | None, shape: tuple[int, int]) -> NDArray[Any]:
    """uint8 (N, C, H, W)."""
    from PIL import Image  # noqa: PLC0415 # there since _decode

    arrays: list[NDArray[np.uint8]] = []
    for image, path in zip(part.images, part.paths, strict=True):
        if size is None and image.size != shape:
            raise DataError(
                f"{path}: images must have one size, got {image.size[0]}x{image.size[1]} after "
                f"{shape[0]}x{shape[1]}; set size to resize them all"
            )
        converted = image.convert(mode)
        if size is not None:
            converted = converted.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted, dtype=np.uint8)
        arrays.append(pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0))
    return np.stack(arrays)


def read_folder(settings: FolderSettings, path: Path) -> RawImages:
    """Read image files, with the folders' names as classes, in alphabetical order.

    Two arrangements: ``PATH/train/CLASS/file`` with ``PATH/test/CLASS/file``, or
    ``PATH/CLASS/file``, which is split at random in the same ratio for each class. Hidden files are
    passed over; any other file must be an image.

    Args:
        settings: The settings.
        path: The folder.

    Returns:
        The images in a fixed shuffled order, so that a prefix holds all classes.

    Raises:
        DataError: The folder, a class or an image is missing, damaged, or of another size than the
            first.
    """
    if not path.is_dir():
        raise DataError(
            f"{path}: must be a folder of images, there is {'a file' if path.is_file() else 'nothing'}"
        )
    train_dir, test_dir = path / "train", path / "test"
    divided = train_dir.is_dir() and test_dir.is_dir()
    if divided:
        train_folders, test_folders = _class_folders(train_dir), _class_folders(test_dir)
        train_names = {folder.name for folder in train_folders}
        odd = train_names ^ {folder.name for folder in test_folders}
        if odd:
            name = min(odd)
            holder, other = ("train", "test") if name in train_names else ("test", "train")
            raise DataError(
                f"{path}: train and test must hold the same classes, '{name}' is in {holder}, not in {other}"
            )
        parts = [_read_part(train_folders), _read_part(test_folders)]
    elif train_dir.is_dir() or test_dir.is_dir():
        here, gone = ("train", "test") if train_dir.is_dir() else ("test", "train")
        raise DataError(
            f"{path}: must hold both train and test, or neither, got {here} without {gone}"
        )
    else:
        train_folders = _class_folders(path)
        parts = [_read_part(train_folders)]
    grey = all(image.mode in _GREY_MODES for part in parts for image in part.images)
    mode = "L" if settings.colour == "grey" or (settings.colour == "auto" and grey) else "RGB"
    shape = parts[0].images[0].size
    images = [_pixels(part, mode=mode, size=settings.size, shape=shape) for part in parts]
    labels = [part.labels for part in parts]
    split = "folders train and test"
    if not divided:
        test = stratified_test_mask(
            labels[0],
            frozen_generator(settings.split_seed),
            test_fraction=settings.test_fraction,
            where=str(path),
        )
        images = [images[0][~test], images[0][test]]
        labels = [labels[0][~test], labels[0][test]]
        split = f"stratified, {settings.test_fraction:g} for testing, seed {settings.split_seed}"
    orders = [shuffled(np.arange(len(part)), seed=settings.split_seed) for part in labels]
    return RawImages(
        x_train=images[0][orders[0]],
        y_train=labels[0][orders[0]],
        x_test=images[1][orders[1]],
        y_test=labels[1][orders[1]],
        classes=tuple(folder.name for folder in train_folders),
        origin=str(path),
        split=split,
    )
