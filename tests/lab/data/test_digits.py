"""scikit-learn's digits, halved."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from regrow.lab.data.digits import DigitsSettings, read_digits


def test_every_image_is_on_one_side_with_its_label() -> None:
    raw = read_digits(DigitsSettings())
    images, labels = load_digits(return_X_y=True)
    pixels = np.concatenate([raw.x_train, raw.x_test]).reshape(-1, 64)
    got = sorted(
        map(tuple, np.column_stack([pixels, np.concatenate([raw.y_train, raw.y_test])]).tolist())
    )
    assert got == sorted(map(tuple, np.column_stack([images, labels]).astype(int).tolist()))
    assert (len(raw.x_train), len(raw.x_test)) == (896, 901)


def test_halves_are_stratified_and_prefixes_hold_all_classes() -> None:
    raw = read_digits(DigitsSettings())
    difference = np.bincount(raw.y_test) - np.bincount(raw.y_train)
    assert set(difference.tolist()) <= {0, 1}
    assert len(set(raw.y_train[:60].tolist())) == 10


def test_the_seed_decides_the_split() -> None:
    first, again, other = (read_digits(DigitsSettings(split_seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert (first.x_train != other.x_train).any()
