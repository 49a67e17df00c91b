"""Repeatable splits."""

from __future__ import annotations

import numpy as np
import pytest

from regrow.errors import ConfigError, DataError
from regrow.lab.data.digits import DigitsSettings
from regrow.lab.data.split import (
    frozen_generator,
    shuffled,
    stratified_test_mask,
)
from regrow.lab.settings import read_settings

LABELS = np.array([0] * 7 + [1] * 12 + [2] * 2)


def test_each_class_is_divided_in_the_same_ratio() -> None:
    for fraction, tested in ((0.5, [4, 6, 1]), (0.25, [2, 3, 1])):
        mask = stratified_test_mask(LABELS, frozen_generator(3), test_fraction=fraction, where="x")
        assert np.bincount(LABELS[mask]).tolist() == tested


def test_ten_times_one_tenth_is_one() -> None:
    labels = np.zeros(10, int)
    assert (
        stratified_test_mask(labels, frozen_generator(0), test_fraction=0.9, where="x").sum() == 9
    )


def test_same_seed_same_split_other_seed_other_split() -> None:
    first, again, other = (
        stratified_test_mask(LABELS, frozen_generator(seed), where="x") for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_stream_is_the_one_that_numpy_froze() -> None:
    # The numbers are part of the format: a change would silently move images between training and test.
    assert frozen_generator(0).permutation(8).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"class 1 has 1 in all, 0 of them for training \(x\)"):
        stratified_test_mask(np.array([0, 0, 1]), frozen_generator(0), where="x")


def test_shuffled_is_a_permutation() -> None:
    rows = np.arange(20, 50)
    mixed = shuffled(rows, seed=1)
    assert sorted(mixed.tolist()) == rows.tolist()
    assert mixed.tolist() != rows.tolist()


@pytest.mark.parametrize(("seed", "told"), [(-1, "at least 0"), (2**32, "at most 4294967295")])
def test_seeds_out_of_range(seed: int, told: str) -> None:
    with pytest.raises(ConfigError, match=f"split_seed: must be {told}"):
        read_settings(DigitsSettings, {"split_seed": seed}, where="data")
