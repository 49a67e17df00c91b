"""A results folder on the disk: held by one run at a time, and its troubles told in one line."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from regrow.errors import ConfigError, RegrowError, StoreError
from regrow.study.storage import Place

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def explained(path: Place, what: str) -> Generator[None]:
    """Turn what the file system and SQLite say into one line."""
    try:
        yield
    except RegrowError:
        raise  # it is one line already, also where it is a ValueError
    except OSError as error:
        raise StoreError(f"{path}: {what}: {error.strerror}") from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in _DAMAGED:
            raise StoreError(
                f"{path}: is damaged ({error}): put it back from a copy, or move its folder away and begin anew"
            ) from error
        raise StoreError(f"{path}: {what}: {error}") from error
    except (KeyError, ValueError) as error:
        raise StoreError(f"{path}: its records are damaged: {error!r}") from error


@contextmanager
def reading(file: Path) -> Generator[sqlite3.Connection]:
    """One read transaction, so that a run that goes on meanwhile cannot show two states."""
    # Every reader of a WAL database writes beside it, and only one that may write tidies up after
    # itself. Where nobody may write and no log is pending, the file alone is the whole truth.
    log = file.with_name(file.name + "-wal")
    pending = log.is_file() and log.stat().st_size > 0
    writable = os.access(file.parent, os.W_OK) and os.access(file, os.W_OK)
    mode = "rw" if writable else "ro" if pending else "ro&immutable=1"
    address = f"{file.absolute().as_uri()}?mode={mode}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
            database.execute("PRAGMA query_only = ON")
            database.execute("BEGIN")
            yield database
    except sqlite3.Error as error:
        raise StoreError(
            f"{file}: must be a results file of regrow, and cannot be read as one: {error}"
        ) from error


@contextmanager
def folder_held(folder: Path) -> Generator[None]:
    """Hold a folder for one run; the lock ends with the process, however it ends."""
    # Whose it is stands in a file of its own: some systems do not let others read a locked one.
    holder = folder / ".pid"
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = holder.read_text(encoding="utf-8").strip() if holder.is_file() else ""
        raise StoreError(
            f"{folder}: another run is at work here{f' (process {process})' if process else ''}; "
            f"wait for it, or choose another --out"
        ) from None
    try:
        holder.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


def file_stem(trial: str) -> str:
    """A readable file name for a trial, made unique by a hash.

    Examples:
        >>> file_stem("base/none/seed0")
        'base_none_seed0-9ff65bfb'
    """
    readable = re.sub(r"[^A-Za-z0-9.=-]+", "_", trial)[:80]
    return f"{readable}-{hashlib.sha256(trial.encode()).hexdigest()[:8]}"


def checkpoint_path(folder: Place, trial: str) -> Place:
    """Where the checkpoint of a trial lies."""
    return folder / f"{file_stem(trial)}.ckpt"


def weights_content(path: str) -> bytes:
    """A weights file that a user named, relative to the working directory."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"weights file {path}: cannot be read from {Path.cwd()}: {error.strerror}"
        ) from error


def sha256_of(path: str) -> str:
    """The hash of a weights file that a user named, 64 hexadecimal digits."""
    return hashlib.sha256(weights_content(path)).hexdigest()


def lost_weights(path: Place, trial: str, told: str) -> str:
    """What is said when the kept weights of a trial cannot be used: nothing is trained anew in their place."""
    return (
        f"{path}: the weights of {trial}, which has ended and is to teach, cannot be used: {told}. Put the file "
        f"back from a copy, or begin the study anew in another --out"
    )
