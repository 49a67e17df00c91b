"""Scaling against numbers computed the obvious way in float64."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from regrow.errors import ConfigError, DataError
from regrow.lab.data import scale as module
from regrow.lab.data.scale import scaled


def images(count: int, *, seed: int, dtype: type = np.uint8) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 200, (count, 3, 4, 5)).astype(dtype)


@pytest.mark.parametrize("block", [3, 4096])
def test_standard_uses_the_training_statistics_for_both(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    train, test = images(10, seed=0), images(4, seed=1)
    got_train, got_test = scaled(train, test, scale="standard")
    flat = train.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    mean, std = flat.mean(1)[:, None, None], flat.std(1)[:, None, None]
    np.testing.assert_allclose(got_train, (train - mean) / std, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(got_test, (test - mean) / std, rtol=1e-6, atol=1e-6)
    assert got_train.dtype == got_test.dtype == np.float32


def test_standard_survives_a_large_offset() -> None:
    train = images(10, seed=0).astype(np.float64)
    shifted, _ = scaled(train + 1e8, train, scale="standard")
    plain, _ = scaled(train, train, scale="standard")
    np.testing.assert_allclose(shifted, plain, atol=1e-5)


def test_unit_divides_by_255_by_the_given_maximum_or_by_the_training_maximum() -> None:
    train = images(6, seed=2)
    as_float = train.astype(np.float32)
    for given, maximum, white in (
        (train, None, 255.0),
        (train, 200.0, 200.0),
        (as_float, None, float(train.max())),
        (as_float / 400, None, 1.0),
    ):
        got, _ = scaled(given, given, scale="unit", maximum=maximum)
        np.testing.assert_allclose(got, given / white, rtol=1e-6)


def test_per_image_gives_each_image_mean_0_and_std_1_and_a_flat_image_zeros() -> None:
    train = images(6, seed=3)
    train[2] = 77
    got, _ = scaled(train, train, scale="per_image")
    others = np.delete(got, 2, axis=0).reshape(5, -1).astype(np.float64)
    np.testing.assert_allclose(others.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(others.std(1), 1, atol=1e-6)
    assert (got[2] == 0).all()


def test_inputs_are_left_alone() -> None:
    train = images(6, seed=4)
    before = train.copy()
    for scale in module.SCALES:
        scaled(train, train, scale=scale)
    np.testing.assert_array_equal(train, before)


def test_a_constant_channel_cannot_be_standardised() -> None:
    train = images(6, seed=5)
    train[:, 1] = 9
    with pytest.raises(DataError, match=r"channel 1 is 9 throughout"):
        scaled(train, train, scale="standard")


def test_unit_refuses_negative_and_all_black_images() -> None:
    with pytest.raises(ConfigError, match="smallest is -1"):
        scaled(np.full((2, 1, 2, 2), -1.0), np.zeros((2, 1, 2, 2)), scale="unit")
    with pytest.raises(DataError, match="all are 0"):
        scaled(np.zeros((2, 1, 2, 2)), np.zeros((2, 1, 2, 2)), scale="unit")


def test_unknown_scale() -> None:
    with pytest.raises(
        ConfigError, match="scale must be one of standard, unit, per_image, got 'none'"
    ):
        scaled(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1)), scale="none")


@pytest.mark.parametrize("scale", ["standard", "per_image"])
def test_values_too_close_together_for_their_scale_are_told(scale: str) -> None:
    # Their squares are 0 even in float64, so that a standard deviation of 0 would divide them.
    tiny = np.array([[[[1e-200, 3e-200]]], [[[2e-200, 5e-200]]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            DataError, match=rf"scale '{scale}' .* image 0, with .*1e-200 to 3e-200"
        ):
            scaled(tiny, tiny, scale=scale)


def test_a_test_image_far_outside_the_training_images_is_told() -> None:
    train = np.array([[[[0.0, 1e-30]]]])
    test = np.array([[[[0.0, 1e-30]]], [[[0.0, 1e20]]]])
    told = r"test image 1, with values from 0 to 1e\+20, leaves it"
    with pytest.raises(DataError, match=told):
        scaled(train, test, scale="standard")
