"""What every data set is checked for."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from regrow.errors import ConfigError, DataError
from regrow.lab.data.dataset import CommonSettings, RawImages, assemble
from regrow.lab.settings import read_settings


def raw(**changes: Any) -> RawImages:
    generator = np.random.default_rng(0)
    plain = RawImages(
        x_train=generator.integers(0, 256, (9, 1, 4, 5)).astype(np.uint8),
        y_train=np.array([0, 1, 2] * 3),
        x_test=generator.integers(0, 256, (6, 1, 4, 5)).astype(np.uint8),
        y_test=np.array([0, 1, 2, 2, 2, 0]),
        classes=("a", "b", "c"),
        origin="somewhere",
        split="made up",
    )
    return dataclasses.replace(plain, **changes)


def spoiled(value: float) -> np.ndarray:
    images = raw().x_test.astype(np.float32)
    images[3:5, 0, 1, 1] = value
    return images


def test_tensors_facts_and_sizes() -> None:
    data = assemble("mine", raw(), CommonSettings(scale="unit"))
    assert data.x_train.dtype == torch.float32
    assert data.y_test.dtype == torch.int64
    assert data.y_test.tolist() == [0, 1, 2, 2, 2, 0]
    torch.testing.assert_close(data.x_train, torch.from_numpy(raw().x_train) / 255)
    assert data.name == "mine"
    assert data.sizes == {"in_channels": 1, "image_size": (4, 5), "classes": 3}
    assert data.meta["counts"] == {"a": [3, 2], "b": [3, 1], "c": [3, 3]}
    assert {key: data.meta[key] for key in ("source", "split", "scale")} == {
        "source": "somewhere",
        "split": "made up",
        "scale": "unit",
    }
    assert json.loads(json.dumps(data.meta)) == data.meta


def test_the_hash_names_the_images_and_labels_and_not_the_scale() -> None:
    first = assemble("mine", raw(), CommonSettings(scale="unit")).meta["sha256"]
    assert first == assemble("mine", raw(), CommonSettings(scale="standard")).meta["sha256"]
    images = raw().x_train.copy()
    images[0, 0, 0, 0] ^= 1
    labels = np.array([1, 0, 2] * 3)
    for changed in (raw(x_train=images), raw(y_train=labels)):
        assert assemble("mine", changed, CommonSettings()).meta["sha256"] != first


def test_prefixes_keep_the_order_and_count() -> None:
    data = assemble("mine", raw(), CommonSettings(scale="unit", n_train=3, n_test=2))
    whole = assemble("mine", raw(), CommonSettings(scale="unit"))
    assert torch.equal(data.x_train, whole.x_train[:3])
    assert torch.equal(data.y_test, whole.y_test[:2])
    assert data.meta["counts"] == {"a": [1, 1], "b": [1, 1], "c": [1, 0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_train": np.zeros((0, 1, 4, 5), np.uint8), "y_train": np.zeros(0, int)},
            "training set must hold at least one",
        ),
        (
            {"x_test": np.zeros((0, 1, 4, 5), np.uint8), "y_test": np.zeros(0, int)},
            "test set must hold at least one image",
        ),
        (
            {"x_test": np.zeros((6, 4, 5), np.uint8)},
            r"test images must have shape \(N, C, H, W\), got \(6, 4, 5\)",
        ),
        ({"x_test": np.zeros((6, 1, 0, 5), np.uint8)}, "test images must have shape"),
        (
            {"x_test": np.zeros((6, 1, 5, 5), np.uint8)},
            r"must have one shape, got \(1, 4, 5\) and \(1, 5, 5\)",
        ),
        (
            {"x_test": np.zeros((6, 1, 4, 5), np.int32)},
            "test images must be uint8 or floating, got int32",
        ),
        (
            {"x_test": spoiled(np.nan)},
            "must be finite, 2 hold NaN or infinity, the first is image 3",
        ),
        ({"x_test": spoiled(np.inf)}, "must be finite"),
        ({"y_train": np.array([0, 1, 2])}, r"one label an image: 9 images, labels of shape \(3,\)"),
        ({"y_train": np.zeros((9, 1), int)}, r"labels of shape \(9, 1\)"),
        ({"y_train": np.arange(9) / 3}, "training labels must be integers, got float64"),
        (
            {"y_train": np.array([0, 1, -1] * 3)},
            r"training labels must be within 0..2 \(3 classes\), got -1",
        ),
        (
            {"y_test": np.array([0, 1, 3, 0, 0, 0])},
            r"test labels must be within 0..2 \(3 classes\), got 3",
        ),
        ({"y_train": np.array([0, 2, 2] * 3)}, "class 'b' has none among 9"),
        ({"y_train": np.ones(9, int)}, "at least 2 classes, all 9 images are of class 'b'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        assemble("mine", raw(**changes), CommonSettings())
    assert str(caught.value).endswith("(somewhere)")
    assert "\n" not in str(caught.value)


def test_a_prefix_may_not_lose_a_class() -> None:
    with pytest.raises(DataError, match="class 'c' has none among 2"):
        assemble("mine", raw(), CommonSettings(n_train=2))


def test_a_prefix_may_not_be_longer_than_the_set() -> None:
    with pytest.raises(ConfigError, match=r"n_test must be at most 6, got 7 \(somewhere\)"):
        assemble("mine", raw(), CommonSettings(n_test=7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_train": 0}, "n_train: must be at least 1, got 0"),
        ({"scale": "none"}, "scale: must be one of 'standard', 'unit' or 'per_image', got 'none'"),
    ],
)
def test_common_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(CommonSettings, settings, where="data")
