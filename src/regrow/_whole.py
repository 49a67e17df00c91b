"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, *parts: bytes | memoryview, forced: bool = False) -> None:
    """Write a file beside the old one and put it in its place in one move.

    Whoever looks, at any time, finds the old file or the new one: after a full disk, after a kill (which leaves
    ``.NAME.PROCESS.tmp`` behind), and from another process in the middle of it. With `forced` it waits until the file
    is on the disk, so that it is there after a loss of power too; without, such a loss may leave a part of the file,
    which a checksum must find.
    """
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
            if forced:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # a read-only folder: there is nothing to remove either
            temporary.unlink(missing_ok=True)
        raise
    if forced:
        _force_name(path.parent)


def _force_name(folder: Path) -> None:
    """A file's name is on the disk when its folder is; systems without `O_DIRECTORY` open no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
