"""`digits`: 1,797 scanned digits of 8 x 8 pixels, shipped inside scikit-learn; nothing is downloaded."""

from __future__ import annotations

import numpy as np

from regrow.errors import MissingExtraError
from regrow.lab.data.dataset import CommonSettings, RawImages
from regrow.lab.data.split import SplitSeed, frozen_generator, stratified_test_mask


class DigitsSettings(CommonSettings):
    """Settings of `digits`."""

    # Which stratified half trains; one number gives the same split everywhere.
    split_seed: SplitSeed = 0


def read_digits(settings: DigitsSettings) -> RawImages:
    """Read scikit-learn's digits and divide them into two stratified halves.

    Source:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998; the
        test part, as scikit-learn's `load_digits` ships it.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 # a second to import, and only this source needs it
    except ImportError as error:
        raise MissingExtraError("scikit-learn", extra="lab") from error
    images, labels = load_digits(return_X_y=True)
    pixels = np.asarray(images, dtype=np.uint8).reshape(-1, 1, 8, 8)
    classes = np.asarray(labels, dtype=np.int64)
    test = stratified_test_mask(classes, frozen_generator(settings.split_seed), where="digits")
    return RawImages.divided(
        pixels,
        classes,
        test=test,
        seed=settings.split_seed,
        classes=tuple(str(digit) for digit in range(10)),
        origin="scikit-learn load_digits",
        split=f"stratified halves, seed {settings.split_seed}",
        maximum=16.0,
    )
