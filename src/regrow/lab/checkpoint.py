"""Checkpoints of a trial in progress: written whole or not at all, and never trusted without their checksum."""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from pathlib import Path
from typing import Any, Final

import torch

from regrow.errors import RegrowWarning, StoreError

CHECKPOINT_VERSION: Final = 1
_MAGIC: Final = "regrow-checkpoint"


class CheckpointFile:
    """The one checkpoint of one trial.

    The file is a line (format, version, SHA-256) and torch's own format, which is read with
    ``weights_only=True``: a checkpoint cannot run code.

    Args:
        path: Where it lies; `regrow.lab.store.Store.checkpoint` says.
        trial: Name of the trial.
        fingerprint: Hash of what determines the trial; a checkpoint with another one is not used.
        every_s: Least time between two checkpoints; 0 = after each epoch. It has no influence on results.
    """

    def __init__(self, path: Path, *, trial: str, fingerprint: str, every_s: float = 1.0) -> None:
        self.path = path
        self._identity = {"trial": trial, "fingerprint": fingerprint}
        self._every_s = every_s
        self._last = time.monotonic()

    def save_if_due(self, state: dict[str, Any]) -> bool:
        """Write the state when the last checkpoint is old enough.

        Args:
            state: Tensors, numbers and texts in dicts and lists.

        Returns:
            Whether it was written.
        """
        if time.monotonic() - self._last < self._every_s:
            return False
        self.save(state)
        return True

    def save(self, state: dict[str, Any]) -> None:
        """Write the state in one piece: another process sees the old file or the new one.

        The file is not forced to the disk. After a loss of power the checksum finds a file that did
        not get there, and the trial starts anew.

        Args:
            state: Tensors, numbers and texts in dicts and lists.

        Raises:
            StoreError: The disk is full or read-only.
        """
        buffer = io.BytesIO()
        torch.save({**self._identity, "state": state}, buffer)
        payload = buffer.getbuffer()
        digest = hashlib.sha256(payload).hexdigest()
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(f"{_MAGIC} {CHECKPOINT_VERSION} {digest}\n".encode())
                file.write(payload)
            temporary.replace(self.path)
        except OSError as error:
            _remove(temporary)
            raise StoreError(
                f"{self.path}: the checkpoint cannot be written: {error.strerror}"
            ) from error
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Read the state.

        Returns:
            What was saved; None when there is nothing, or nothing that can be trusted.

        Edge cases:
            A file that is truncated, damaged, of another version or of another trial is renamed to
            ``*.damaged`` and reported by a RegrowWarning.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.set_aside(f"it cannot be read ({error.strerror})")
            return None
        reason = _damage(content)
        if reason:
            self.set_aside(reason)
            return None
        payload = content.partition(b"\n")[2]
        found: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)
        if {key: found[key] for key in self._identity} != self._identity:
            self.set_aside("it belongs to another trial")
            return None
        return found["state"]

    def set_aside(self, reason: str) -> None:
        """Take the file out of the way and report it; the trial then starts anew.

        Args:
            reason: What is wrong with it.

        Raises:
            StoreError: It cannot be renamed.
        """
        aside = self.path.with_suffix(".damaged")
        try:
            self.path.replace(aside)
        except OSError as error:
            raise StoreError(
                f"{self.path}: {reason}, and it cannot be renamed: {error.strerror}"
            ) from error
        warnings.warn(
            f"checkpoint {self.path}: {reason}; set aside as {aside.name}, the trial starts anew",
            RegrowWarning,
            stacklevel=3,
        )


def _damage(content: bytes) -> str:
    """What is wrong with a checkpoint's bytes; empty if nothing is."""
    header, _, payload = content.partition(b"\n")
    words = header.decode("ascii", errors="replace").split(" ")
    if len(words) != 3 or words[0] != _MAGIC:
        return "it is no checkpoint of regrow"
    if words[1] != str(CHECKPOINT_VERSION):
        return f"its version is {words[1]}, not {CHECKPOINT_VERSION}"
    if hashlib.sha256(payload).hexdigest() != words[2]:
        return "its checksum does not match: it is truncated or damaged"
    return ""


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # a read-only folder: there is nothing to remove either
