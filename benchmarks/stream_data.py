"""The images that the studies of streams read: `mnist14.npz`, `mnist28.npz` and `cifar16.npz`.

MNIST: the first 10,000 training and 2,000 test images, at 28x28 pixels and at 14x14, each value the mean of 2x2.
CIFAR-10: the first 5,000 and 1,000, at 16x16. All in [0, 1]. Of both, the source is read in the folder named by
REGROW_DATA_DIR, else in ../shared/data: `mnist-full.npz` and `cifar10-full.npz`, which hold x_train, y_train, x_test
and y_test of all images as uint8 (other studies read the second too), or `mnist.npz` and `cifar10.npz`, packed, with
the `load.py` that unpacks them.

    python benchmarks/stream_data.py FOLDER
    regrow run studies/streams-memo400.toml --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import os
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MNIST: Final = (10_000, 2_000)
"""Training and test images."""

CIFAR: Final = (5_000, 1_000)

Arrays = Mapping[str, NDArray[Any]]


def images(given: NDArray[np.uint8], *, halved: bool) -> NDArray[np.float32]:
    """(N, C, H, W) in [0, 1] of (N, H, W) or (N, H, W, C); halved, each value is the mean of 2x2 pixels."""
    large = given.astype(np.float32).reshape(*given.shape[:3], -1)
    if halved:
        n, high, wide, channels = large.shape
        large = large.reshape(n, high // 2, 2, wide // 2, 2, channels).mean(axis=(2, 4))
    return np.ascontiguousarray(large.transpose(0, 3, 1, 2)) / np.float32(255)


def loaded(source: Path, name: str, counts: tuple[int, int]) -> Arrays:
    """At least the first images of both parts as uint8, and their classes."""
    plain = source / f"{name}-full.npz"
    if plain.is_file():
        with np.load(plain) as arrays:
            return dict(arrays)
    for file in (f"{name}.npz", "load.py"):
        if not (source / file).is_file():
            raise SystemExit(
                f"neither {plain.name} nor {file} is in {source}; set REGROW_DATA_DIR to the folder of the data sets"
            )
    load = runpy.run_path(str(source / "load.py"))["load"]
    return load(name, n_train=counts[0], n_test=counts[1])


def write(path: Path, given: Arrays, counts: tuple[int, int], *, halved: bool) -> None:
    """One file, as the laboratory reads it."""
    arrays: dict[str, NDArray[Any]] = {}
    for part, count in zip(("train", "test"), counts, strict=True):
        arrays[f"x_{part}"] = images(given[f"x_{part}"][:count], halved=halved)
        arrays[f"y_{part}"] = given[f"y_{part}"][:count].astype(np.int64)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType] # the arrays by their names


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are written to")
    folder: Path = parser.parse_args().folder
    told = os.environ.get("REGROW_DATA_DIR")
    source = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    mnist, cifar = loaded(source, "mnist", MNIST), loaded(source, "cifar10", CIFAR)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "mnist14.npz", mnist, MNIST, halved=True)
    write(folder / "mnist28.npz", mnist, MNIST, halved=False)
    write(folder / "cifar16.npz", cifar, CIFAR, halved=True)


if __name__ == "__main__":
    main()
