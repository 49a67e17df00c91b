"""A cluster of two nodes on this machine, and studies that are run on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from on_ray.bucket import Bucket
from on_ray.nodes import Nodes


@pytest.fixture(scope="session")
def bucket() -> Iterator[Bucket]:
    pytest.importorskip("moto", reason="moto is not installed here: make test-ray")
    found = Bucket()
    yield found
    found.close()


@pytest.fixture(scope="session")
def nodes(bucket: Bucket) -> Iterator[Nodes]:
    """Begun after the bucket, whose address they inherit."""
    found = Nodes(count=2)
    yield found
    found.close()


@pytest.fixture(scope="session")
def digits_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 training and 64 test digits of three classes."""
    images, labels = load_digits(return_X_y=True)
    chosen = labels < 3
    x = images[chosen].reshape(-1, 8, 8).astype(np.float32)
    y = labels[chosen].astype(np.int64)
    path = tmp_path_factory.mktemp("data") / "digits3.npz"
    np.savez(path, x_train=x[:96], y_train=y[:96], x_test=x[96:160], y_test=y[96:160])
    return path
