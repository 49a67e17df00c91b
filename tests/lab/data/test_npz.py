"""The user's own arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regrow.errors import ConfigError, DataError
from regrow.lab.data import load
from regrow.lab.data.npz import NpzSettings, to_nchw
from regrow.lab.settings import read_settings


def write(path: Path, **changes: Any) -> str:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "x_train": generator.integers(0, 256, (8, 5, 6)).astype(np.uint8),
        "y_train": np.arange(8) % 2,
        "x_test": generator.integers(0, 256, (4, 5, 6)).astype(np.uint8),
        "y_test": np.arange(4) % 2,
    }
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("shape", "layout", "result"),
    [
        ((2, 8, 9), "auto", (2, 1, 8, 9)),
        ((2, 8, 9, 3), "auto", (2, 3, 8, 9)),
        ((2, 8, 9, 1), "auto", (2, 1, 8, 9)),
        ((2, 3, 8, 9), "auto", (2, 3, 8, 9)),
        ((2, 3, 8, 3), "NCHW", (2, 3, 8, 3)),
        ((2, 3, 8, 3), "NHWC", (2, 3, 3, 8)),
        ((2, 8, 9, 7), "NHWC", (2, 7, 8, 9)),
    ],
)
def test_layouts(shape: tuple[int, ...], layout: str, result: tuple[int, ...]) -> None:
    assert to_nchw(np.zeros(shape), layout=layout, where="x").shape == result


def test_channels_go_where_they_belong() -> None:
    images = np.zeros((1, 2, 5, 3))
    images[0, 1, 4, 2] = 7
    assert to_nchw(images, layout="auto", where="x")[0, 2, 1, 4] == 7


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        (
            (2, 3, 8, 3),
            "auto",
            r"x: cannot tell the channel axis of shape \(2, 3, 8, 3\); set layout to one of NHW, NHWC",
        ),
        ((2, 8, 8, 5), "auto", "cannot tell the channel axis"),
        ((2, 8), "auto", r"must have axes NHW, NHWC or NCHW, got shape \(2, 8\)"),
        ((2, 8, 8), "NCHW", r"must have axes NCHW, got shape \(2, 8, 8\)"),
    ],
)
def test_layouts_that_cannot_be_told(shape: tuple[int, ...], layout: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        to_nchw(np.zeros(shape), layout=layout, where="x")


def test_unknown_layout() -> None:
    with pytest.raises(
        ConfigError, match="layout: must be one of 'auto', 'NHW', 'NHWC' or 'NCHW', got 'CHWN'"
    ):
        read_settings(NpzSettings, {"layout": "CHWN"}, where="data")


def test_the_file_is_loaded_in_its_own_order(tmp_path: Path) -> None:
    data = load(write(tmp_path / "mine.npz"), settings={"scale": "unit"})
    assert tuple(data.x_train.shape) == (8, 1, 5, 6)
    assert data.y_train.tolist() == [0, 1] * 4
    assert data.classes == ("0", "1")


def test_a_relative_path_starts_at_the_data_folder(tmp_path: Path) -> None:
    write(tmp_path / "mine.npz")
    assert load("npz:mine.npz", data_dir=tmp_path).name == "npz:mine.npz"


def test_class_names(tmp_path: Path) -> None:
    assert load(write(tmp_path / "a.npz", classes=np.array(["no", "yes"]))).classes == ("no", "yes")
    with pytest.raises(DataError, match="classes must have names of their own, got no, no"):
        load(write(tmp_path / "b.npz", classes=np.array(["no", "no"])))
    with pytest.raises(
        DataError, match=r"training labels must be within 0..1 \(2 classes\), got 2"
    ):
        load(write(tmp_path / "c.npz", classes=np.array(["no", "yes"]), y_train=np.arange(8) % 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "missing: y_test; it holds: x_test, x_train, y_train"),
        ({"y_train": np.arange(8) % 2 * 1.0}, "training labels must be integers, got float64"),
        (
            {"y_train": np.arange(8) % 2 - 1},
            "y_train must number its classes from 0, got -1; 4 of 8 labels are negative",
        ),
        (
            {"y_train": np.full(8, -3)},
            "y_train must number its classes from 0, got -3; 8 of 8 labels are negative",
        ),
        (
            {"y_train": np.arange(8) % 2 - 1, "classes": np.array(["no", "yes"])},
            r"training labels must be within 0..1 \(2 classes\), got -1",
        ),
        (
            {"y_test": np.array([0, 1, -1, 0])},
            r"test labels must be within 0..1 \(2 classes\), got -1",
        ),
        (
            {"x_train": np.arange(240.0).reshape(8, 5, 6) * 1e300},
            r"training images must be within float32's range, -3.4e\+38 to 3.4e\+38, image 0 holds "
            r"2.9e\+301 or its negative",
        ),
        (
            {"x_train": np.zeros((8, 5, 6)), "x_test": np.arange(120.0).reshape(4, 5, 6) - 1e39},
            "test images must be within float32's range, .* image 0 holds",
        ),
        (
            {"y_train": np.array([0, 10**12] * 4)},
            "without gaps, got label 1000000000000 among 8 images",
        ),
        (
            {"y_test": np.array([0, 1, 2, 0])},
            r"test labels must be within 0..1 \(2 classes\), got 2",
        ),
        ({"y_train": np.array([0, 2] * 4)}, "class '1' has none among 8"),
        ({"y_train": np.zeros(8, int), "y_test": np.zeros(4, int)}, "must hold at least 2 classes"),
        ({"y_train": np.arange(7) % 2}, "one label an image: 8 images, labels of shape"),
        ({"x_train": np.full((8, 5, 6), np.nan)}, "must be finite, 8 hold NaN"),
        (
            {"x_train": np.zeros((0, 5, 6)), "y_train": np.zeros(0, int)},
            "training set must hold at least one image",
        ),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(write(tmp_path / "bad.npz", **changes))
    assert "bad.npz" in str(caught.value)
