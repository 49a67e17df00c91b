"""Small studies on a few real digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from regrow.lab.config import Overrides, load_study
from regrow.study.document import Study, check_document


@pytest.fixture(scope="session")
def digits_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 training and 64 test digits of three classes, as an npz file: read faster than scikit-learn is imported."""
    images, labels = load_digits(return_X_y=True)
    chosen = labels < 3
    x = images[chosen].reshape(-1, 8, 8).astype(np.float32)
    y = labels[chosen].astype(np.int64)
    path = tmp_path_factory.mktemp("data") / "digits3.npz"
    np.savez(path, x_train=x[:96], y_train=y[:96], x_test=x[96:160], y_test=y[96:160])
    return path


@pytest.fixture
def study() -> Callable[..., Study]:
    """A study that is looked at and never run: parts of its document that differ from a plain one."""

    def make(**changes: Any) -> Study:
        base: dict[str, Any] = {
            "name": "s",
            "data": {"name": "digits"},
            "train": {"epochs": 20},
            "arms": {
                "control": {"recipe": "random"},
                "none": {"recipe": "none"},
                "ro": {
                    "recipe": "randomout",
                    "settings": {"readers": "zero"},
                    "train": {"lr": 0.2},
                },
            },
            "seeds": [3, 5],
        }
        return check_document({**base, **changes}, where="test")

    return make


@pytest.fixture
def tiny_study(digits_npz: Path) -> Callable[..., Study]:
    """A study of seconds: recipes, then settings as the command line gives them."""

    def make(
        *recipes: str,
        settings: tuple[str, ...] = (),
        seeds: int = 2,
        epochs: int = 3,
        lr: float = 0.1,
    ) -> Study:
        small = ("model.filters=3", "model.dense=8", "model.init=kaiming_normal")
        return load_study(
            None,
            Overrides(
                data=f"npz:{digits_npz}",
                recipes=recipes or ("none",),
                settings=(*small, *settings),
                seeds=seeds,
                train={"epochs": epochs, "batch_size": 16, "lr": lr},
            ),
        )

    return make
