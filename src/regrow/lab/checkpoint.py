"""Checkpoints of a trial in progress: written whole or not at all, and never trusted without their checksum.

Contents: `CheckpointFile`, `held_states`, and what a state is to a file: `copied` and `plain`.
"""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor

from regrow.errors import RegrowWarning
from regrow.study.folder import checkpoint_path, explained
from regrow.study.storage import Place, write

CHECKPOINT_VERSION: Final = 1
_MAGIC: Final = "regrow-checkpoint"


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a checkpoint is of."""

    # The trials that were one run when it was saved, the one that gave the file its name first.
    members: tuple[str, ...]
    epoch: int  # epochs done


class CheckpointFile:
    """The one checkpoint of one run: a line (format, version, SHA-256), and torch's own format.

    It is read with ``weights_only=True``: a checkpoint cannot run code. One of another trial or fingerprint is not
    used.
    """

    def __init__(self, path: Place, *, trial: str, fingerprint: str, every_s: float = 1.0) -> None:
        self.path = path  # where it lies; `regrow.study.store.Store.checkpoint` says
        self._identity = {"trial": trial, "fingerprint": fingerprint}
        # Least time between two checkpoints; 0 = after each epoch. It has no influence on results.
        self._every_s = every_s
        self._last = time.monotonic()

    def of(self, trial: str) -> CheckpointFile:
        """The file of another trial of the same study, in the same folder."""
        path = checkpoint_path(self.path.parent, trial)
        return CheckpointFile(path, trial=trial, fingerprint=self._identity["fingerprint"])

    def save_if_due(
        self, state: Callable[[], dict[str, Any]], *, members: Sequence[str] = (), epoch: int = 0
    ) -> bool:
        """Write the state when the last checkpoint is old enough; without members: of the trial that named the file."""
        if time.monotonic() - self._last < self._every_s:
            return False
        self.save(state(), members=members, epoch=epoch)
        return True

    def save(self, state: dict[str, Any], *, members: Sequence[str] = (), epoch: int = 0) -> None:
        """Write the state in one piece: another process sees the old file or the new one.

        The file is not forced to the disk: after a loss of power the checksum finds a file that did not get there.
        """
        held = {"members": list(members) or [self._identity["trial"]], "epoch": epoch}
        buffer = io.BytesIO()
        torch.save({**self._identity, **held, "state": state}, buffer)
        payload = buffer.getbuffer()
        digest = hashlib.sha256(payload).hexdigest()
        header = f"{_MAGIC} {CHECKPOINT_VERSION} {digest}\n".encode()
        with explained(self.path, "the checkpoint cannot be written"):
            write(self.path, header, payload)
        self._last = time.monotonic()

    def load(self, *, members: Sequence[str] = ()) -> dict[str, Any] | None:
        """Read the state from which some trials go on; None when there is nothing, or nothing that can be trusted.

        What is truncated, damaged, of another version or trial, or lacks a member, is set aside with a warning.
        """
        found = self._read()
        if found is None:
            return None
        lacking = set(members) - set(found.get("members", members))
        if lacking:
            # Whoever wrote it has died before anybody heard that these had left the run.
            self.set_aside(f"{min(lacking)} is no part of it any more")
            return None
        return found["state"]

    def held(self) -> Held | None:
        """Look whose state the file has; None as for `load`."""
        found = self._read()
        if found is None:
            return None
        members = found.get("members", [found["trial"]])  # files from before runs were shared
        return Held(members=tuple(members), epoch=int(found.get("epoch", 0)))

    def _read(self) -> dict[str, Any] | None:
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
        return found

    def set_aside(self, reason: str) -> None:
        """Take the file out of the way and report it; the trial then starts anew."""
        aside = self.path.with_suffix(".damaged")
        with explained(self.path, f"{reason}, and it cannot be renamed"):
            self.path.replace(aside)  # pyright: ignore[reportArgumentType] # both are of one kind
        warnings.warn(
            f"checkpoint {self.path}: {reason}; set aside as {aside.name}, the trial starts anew",
            RegrowWarning,
            stacklevel=3,
        )


def held_states(folder: Place, trials: Iterable[str], *, fingerprint: str) -> dict[str, Held]:
    """Whose states the checkpoints of a folder have, by the trial that each is named after; damaged are set aside."""
    there = {path.name for path in folder.glob("*.ckpt")}
    found: dict[str, Held] = {}
    for trial in trials if there else ():
        path = checkpoint_path(folder, trial)
        if path.name in there:
            held = CheckpointFile(path, trial=trial, fingerprint=fingerprint).held()
            if held is not None:
                found[trial] = held
    return found


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


def copied(state: Any) -> Any:
    """A state that later training does not change."""
    return _with(state, lambda part: part.detach().clone() if isinstance(part, Tensor) else part)


def plain(state: Any) -> Any:
    """A state as a checkpoint can hold it."""
    return _with(state, _as_values)


def _as_values(part: Any) -> Any:
    return asdict(part) if is_dataclass(part) and not isinstance(part, type) else part


def _with(state: Any, change: Callable[[Any], Any]) -> Any:
    """A state in which each part that is no mapping and no list is changed."""
    if isinstance(state, Mapping):
        found = cast("Mapping[Any, Any]", state)
        return {key: _with(value, change) for key, value in found.items()}
    if isinstance(state, list | tuple):
        several = cast("list[Any] | tuple[Any, ...]", state)
        return type(several)(_with(value, change) for value in several)
    return change(state)
