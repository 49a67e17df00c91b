"""CIFAR-10 at 16x16 pixels, as the studies of streams read it: `cifar16.npz`.

The first 5,000 training and 1,000 test images, in [0, 1], each value the mean of 2x2 pixels. CIFAR-10 is read in the
folder named by REGROW_DATA_DIR, else in ../shared/data: `cifar10-full.npz`, which holds x_train, y_train, x_test and
y_test of all images as uint8 (other studies read it too), or else `cifar10.npz`, packed, with the `load.py` that
unpacks it.

    python benchmarks/cifar16.py FOLDER
    regrow run studies/streams-cmemo300.toml --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import os
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAIN, TEST, SIDE = 5_000, 1_000, 16


def smaller(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 2x2 pixels, (N, 3, 16, 16) in [0, 1], of images (N, 32, 32, 3)."""
    parts = images.astype(np.float32).reshape(len(images), SIDE, 2, SIDE, 2, 3)
    return np.ascontiguousarray(parts.mean(axis=(2, 4)).transpose(0, 3, 1, 2)) / np.float32(255)


def first_images(source: Path) -> Mapping[str, NDArray[Any]]:
    """At least the first images of both parts, (N, 32, 32, 3) uint8, and their classes."""
    plain = source / "cifar10-full.npz"
    if plain.is_file():
        with np.load(plain) as arrays:
            return dict(arrays)
    for name in ("cifar10.npz", "load.py"):
        if not (source / name).is_file():
            raise SystemExit(
                f"neither {plain.name} nor {name} is in {source}; set REGROW_DATA_DIR to the folder of CIFAR-10"
            )
    load = runpy.run_path(str(source / "load.py"))["load"]
    return load("cifar10", n_train=TRAIN, n_test=TEST)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where cifar16.npz is written to")
    folder: Path = parser.parse_args().folder
    told = os.environ.get("REGROW_DATA_DIR")
    source = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    given = first_images(source)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "cifar16.npz",
        x_train=smaller(given["x_train"][:TRAIN]),
        y_train=given["y_train"][:TRAIN].astype(np.int64),
        x_test=smaller(given["x_test"][:TEST]),
        y_test=given["y_test"][:TEST].astype(np.int64),
    )


if __name__ == "__main__":
    main()
