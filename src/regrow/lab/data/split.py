"""Random but repeatable splits and orders, from NumPy's frozen legacy generator."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regrow.errors import DataError

MAX_SEED = 2**32 - 1

SplitSeed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""A seed that the generator of splits takes."""


def frozen_generator(seed: int) -> np.random.RandomState:
    """The legacy Mersenne Twister, whose stream NumPy promises never to change: a split outlives library versions."""
    return np.random.RandomState(seed)


def stratified_test_mask(
    labels: NDArray[Any],
    generator: np.random.RandomState,
    *,
    test_fraction: float = 0.5,
    where: str,
) -> NDArray[np.bool_]:
    """Pick the test items so that each class is divided in the same ratio.

    Of a class with n items, floor(n (1 - test_fraction)) train and the others test; one permutation a class, in
    ascending order of the classes.
    """
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        # 10 * (1 - 0.9) is 0.99...
        train_count = math.floor(len(members) * (1.0 - test_fraction) + 1e-9)
        if not 0 < train_count < len(members):
            raise DataError(
                f"every class must have at least one image on each side of the split, class {label} has "
                f"{len(members)} in all, {train_count} of them for training ({where})"
            )
        test[members[train_count:]] = True
    return test


def shuffled(rows: NDArray[Any], *, seed: int) -> NDArray[Any]:
    """Rows in a fixed random order, so that any prefix is a fair sample of a source that is sorted by class."""
    return frozen_generator(seed).permutation(rows)
