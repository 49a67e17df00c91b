"""MNIST at 14x14 pixels, as the studies of streams read it: `mnist14.npz`.

The first 10,000 training and 2,000 test images, in [0, 1], each value the mean of 2x2 pixels. MNIST is read in the
folder named by REGROW_DATA_DIR, else in ../shared/data.

    python benchmarks/mnist14.py FOLDER
    regrow run studies/streams-memo400.toml --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAIN, TEST, SIDE = 10_000, 2_000, 14


def smaller(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 2x2 pixels, (N, 1, 14, 14) in [0, 1]."""
    parts = images.astype(np.float32).reshape(len(images), 1, SIDE, 2, SIDE, 2)
    return parts.mean(axis=(3, 5)) / np.float32(255)


def part(packed: Any, name: str, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The first images of a part of the packed file, and their classes."""
    shape = json.loads(str(packed["meta"]))[name]["shape"]
    flat = np.frombuffer(lzma.decompress(packed[f"{name}_xz"].tobytes()), np.uint8)
    labels = packed[f"y_{name}"][:count].astype(np.int64)
    return smaller(flat.reshape(shape[:3])[:count]), labels


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where mnist14.npz is written to")
    folder: Path = parser.parse_args().folder
    told = os.environ.get("REGROW_DATA_DIR")
    source = Path(told) if told else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (source / "mnist.npz").is_file():
        raise SystemExit(f"{source / 'mnist.npz'} is not there; set REGROW_DATA_DIR to its folder")
    with np.load(source / "mnist.npz") as packed:
        x_train, y_train = part(packed, "train", TRAIN)
        x_test, y_test = part(packed, "test", TEST)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mnist14.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


if __name__ == "__main__":
    main()
