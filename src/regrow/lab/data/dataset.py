"""`Dataset`: the images of one study, checked and scaled; and the options that every source shares.

Made by the sources beside it through `lab/data/registry`; runs, engines and diagnostics read it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regrow.errors import ConfigError, DataError
from regrow.lab.data.scale import scaled
from regrow.lab.data.split import frozen_generator, shuffled
from regrow.lab.settings import Settings

if TYPE_CHECKING:  # a study file is checked against the settings classes before torch is loaded
    from torch import Tensor

    from regrow.lab.models.settings import Sizes


class CommonSettings(Settings):
    """What can be set for every data set."""

    # ``standard``, ``unit`` or ``per_image``; see `regrow.lab.data.scale.scaled`.
    scale: Literal["standard", "unit", "per_image"] = "standard"
    # Use only the first so many training images, in the source's order; None for all. The order of `npz:PATH` is
    # the file's own and need not be balanced over the classes; the other sources' order is a fixed shuffle.
    n_train: int | None = Field(default=None, ge=1)
    n_test: int | None = Field(default=None, ge=1)  # the same for the test images


@dataclass(frozen=True, kw_only=True, eq=False)
class RawImages:
    """What a source hands over: images as they are stored, in one layout."""

    x_train: NDArray[Any]  # (N, C, H, W), uint8 or floating
    y_train: NDArray[Any]  # class of each image, integers (N,), 0 to K - 1
    x_test: NDArray[Any]  # (M, C, H, W), as `x_train`
    y_test: NDArray[Any]  # integers (M,)
    classes: tuple[str, ...]  # the K names
    origin: str  # where the images came from, for messages and reports
    split: str  # how training and test set were told apart, in words
    # The grey value that means white where the dtype does not say it; 255 for uint8.
    maximum: float | None = None

    @classmethod
    def divided(
        cls,
        images: NDArray[Any],
        labels: NDArray[Any],
        *,
        test: NDArray[np.bool_],
        seed: int,
        **told: Any,
    ) -> Self:
        """Images of one set: those marked test, the others train, each side in a fixed shuffled order."""
        train_rows, test_rows = (
            shuffled(np.flatnonzero(side), seed=seed) for side in (~test, test)
        )
        return cls(
            x_train=images[train_rows],
            y_train=labels[train_rows],
            x_test=images[test_rows],
            y_test=labels[test_rows],
            **told,
        )


_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A checked, scaled data set, ready for training."""

    name: str  # the name that it was asked for, ``digits`` or ``npz:some/file.npz``
    x_train: Tensor  # float32 (N, C, H, W)
    y_train: Tensor  # int64 (N,), 0 to K - 1; of `bits` numbers, float32
    x_test: Tensor  # float32 (M, C, H, W)
    y_test: Tensor  # int64 (M,)
    classes: tuple[str, ...]  # the K class names
    # JSON-ready facts: ``source``, ``split``, ``scale``, ``counts`` (class name to [train, test]) and ``sha256``
    # (of the images and labels in use, before scaling).
    meta: dict[str, object] = field(default_factory=dict[str, object])
    # Training images and their classes that were set aside (`hold_out`), and are not in `x_train`.
    held_out: tuple[Tensor, Tensor] | None = None

    def to(self, device: str) -> Dataset:
        """The same images elsewhere."""
        return self.with_each(lambda part: part.to(device))

    def with_each(self, change: Callable[[Any], Any]) -> Dataset:
        """The same with images and classes in another form."""
        return replace(self, **{name: change(getattr(self, name)) for name in _ARRAYS})

    @property
    def sizes(self) -> Sizes:
        """What a network must know of it."""
        channels, height, width = self.x_train.shape[1:]
        return {
            "in_channels": channels,
            "image_size": (height, width),
            "classes": len(self.classes),  # of `bits` one: a number
        }


def _prefix(
    images: NDArray[Any], labels: NDArray[Any], limit: int | None, *, name: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    if limit is None:
        return images, labels
    if limit > len(images):
        raise ConfigError(f"{name} must be at most {len(images)}, got {limit}")
    return images[:limit], labels[:limit]


def _check_images(images: NDArray[Any], *, part: str) -> None:
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise DataError(f"{part} images must have shape (N, C, H, W), got {images.shape}")
    if len(images) == 0:
        raise DataError(f"{part} set must hold at least one image, got none")
    if images.dtype == np.uint8:
        return
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{part} images must be uint8 or floating, got {images.dtype}")
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise DataError(
            f"{part} images must be finite, {int((~finite).sum())} hold NaN or infinity, "
            f"the first is image {int(np.argmin(finite))}"
        )
    largest = np.maximum(images.max(axis=(1, 2, 3)), -images.min(axis=(1, 2, 3)))
    most = np.finfo(np.float32).max
    if (largest > most).any():
        first = int(np.argmax(largest > most))
        raise DataError(
            f"{part} images must be within float32's range, -{most:.3g} to {most:.3g}, image {first} holds "
            f"{largest[first]:g} or its negative"
        )


def _check_labels(labels: NDArray[Any], count: int, classes: int, *, part: str) -> None:
    if labels.ndim != 1 or len(labels) != count:
        raise DataError(
            f"{part} set must have one label an image: {count} images, labels of shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{part} labels must be integers, got {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise DataError(
            f"{part} labels must be within 0..{classes - 1} ({classes} classes), got {wrong}"
        )


def _check_classes(labels: NDArray[Any], classes: Sequence[str]) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(counts)
    if len(present) < 2:
        raise DataError(
            f"the training set must hold at least 2 classes, all {len(labels)} images are of class "
            f"'{classes[int(present[0])]}'"
        )
    empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    if empty:
        raise DataError(
            f"every class must have a training image, class '{empty[0]}' has none among {len(labels)}"
        )


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def assemble(name: str, raw: RawImages, settings: CommonSettings) -> Dataset:
    """Check a source's images, take the prefixes asked for, scale, and hand out tensors.

    A class without test images is allowed. The prefix is checked like a whole set: one that loses a class is an error.
    """
    try:
        return _assembled(name, raw, settings)
    except (ConfigError, DataError) as error:
        raise type(error)(f"{error} ({raw.origin})") from error


def _assembled(name: str, raw: RawImages, settings: CommonSettings) -> Dataset:
    import torch  # noqa: PLC0415 # see TYPE_CHECKING above

    classes = len(raw.classes)
    for part, images, labels in (
        ("training", raw.x_train, raw.y_train),
        ("test", raw.x_test, raw.y_test),
    ):
        _check_images(images, part=part)
        _check_labels(labels, len(images), classes, part=part)
    if raw.x_train.shape[1:] != raw.x_test.shape[1:]:
        raise DataError(
            f"training and test images must have one shape, got {raw.x_train.shape[1:]} and "
            f"{raw.x_test.shape[1:]}"
        )
    x_train, y_train = _prefix(raw.x_train, raw.y_train, settings.n_train, name="n_train")
    x_test, y_test = _prefix(raw.x_test, raw.y_test, settings.n_test, name="n_test")
    _check_classes(y_train, raw.classes)
    train_counts, test_counts = Counter(y_train.tolist()), Counter(y_test.tolist())
    counts = {key: [train_counts[i], test_counts[i]] for i, key in enumerate(raw.classes)}
    scaled_train, scaled_test = scaled(x_train, x_test, scale=settings.scale, maximum=raw.maximum)
    return Dataset(
        name=name,
        x_train=torch.from_numpy(scaled_train),
        y_train=torch.from_numpy(y_train.astype(np.int64)),
        x_test=torch.from_numpy(scaled_test),
        y_test=torch.from_numpy(y_test.astype(np.int64)),
        classes=raw.classes,
        meta={
            "source": raw.origin,
            "split": raw.split,
            "scale": settings.scale,
            "counts": counts,
            "sha256": _digest(x_train, y_train, x_test, y_test),
        },
    )


def hold_out(data: Dataset, count: int) -> Dataset:
    """Set some training images aside, each class in proportion to its size.

    The choice is random, yet always the same: every seed and every arm has the same images aside.
    """
    import torch  # noqa: PLC0415 # a study file is checked before torch is loaded

    if not count:
        return data
    labels = data.y_train.numpy()
    order = frozen_generator(0).permutation(len(labels))
    turn = np.empty(len(labels))
    for label in np.unique(labels):
        members = order[labels[order] == label]
        turn[members] = (np.arange(len(members)) + 0.5) / len(members)
    first = np.argsort(turn, kind="stable")
    aside, kept = np.sort(first[:count]), np.sort(first[count:])
    missing = [name for i, name in enumerate(data.classes) if i not in labels[kept]]
    if missing:
        raise ConfigError(
            f"train.held_out: must leave a training image of every class, {count} of {len(labels)} leave none of "
            f"class '{missing[0]}'"
        )
    parts = [
        (data.x_train[rows], data.y_train[rows]) for rows in map(torch.from_numpy, (kept, aside))
    ]
    return replace(data, x_train=parts[0][0], y_train=parts[0][1], held_out=parts[1])
