"""Arrays out of an .npz file, with every way that it can be damaged told in one line."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrow.errors import DataError


def read_archive(
    path: Path, keys: Sequence[str], *, optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read named arrays from an .npz file. Pickled objects are refused: they could run code."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise DataError(f"{path}: must be an .npz file, there is {found}")
    result: dict[str, NDArray[Any]] = {}
    # Not np.load alone: it would take other formats too, and name none of them.
    with _told(path), zipfile.ZipFile(path) as members:
        names = {name.removesuffix(".npy") for name in members.namelist()}
    missing = [key for key in keys if key not in names]
    if missing:
        raise DataError(
            f"{path}: must hold the arrays {', '.join(keys)}; missing: {', '.join(missing)}; "
            f"it holds: {', '.join(sorted(names)) or 'nothing'}"
        )
    for key in [*keys, *(name for name in optional if name in names)]:
        with _told(path, array=key), np.load(path, allow_pickle=False) as arrays:
            result[key] = arrays[key]
    return result


@contextmanager
def _told(path: Path, *, array: str = "") -> Generator[None]:
    """Turn the many errors of a damaged archive into one line with the file and the array."""
    try:
        yield
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        place = f", array {array}" if array else ""
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: must be a readable .npz file{place}: {reason}") from error
