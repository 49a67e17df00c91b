"""Trained weights on the disk: whole or not at all, checked when they are read, and saying what network they are of.

Contents: `Weights` (one or more networks' weights), `WeightsFile` (where a trial of a study keeps its own) and
`read_weights` (a file that a user names).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor

from regrow.errors import ConfigError, RegrowError, StoreError
from regrow.study.document import ModelChoice
from regrow.study.folder import explained, lost_weights, weights_content
from regrow.study.storage import Place, write

FORMAT: Final = "regrow-weights"
VERSION: Final = 1
_PARTS: Final = ("model", "settings", "states", "sha256")

State = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weights of one trial's networks."""

    source: str  # where they come from, for messages
    model: ModelChoice  # the network that they belong to
    states: tuple[State, ...]  # one ``state_dict`` a network


class WeightsFile:
    """The final weights of one trial, in torch's own format, read with ``weights_only=True``.

    A dictionary with ``format``, ``version``, ``model``, ``settings``, ``states``, ``trial``, ``fingerprint`` and
    ``sha256``, the hash of the three in the middle.
    """

    def __init__(self, path: Place, *, trial: str, fingerprint: str) -> None:
        self.path = path  # where it lies; `regrow.study.store.Store.weights` says
        self._identity = {"trial": trial, "fingerprint": fingerprint}

    def save(self, model: ModelChoice, states: Sequence[State]) -> None:
        """Write the weights in one piece and force them to the disk."""
        content = {
            **self._identity,
            "format": FORMAT,
            "version": VERSION,
            "model": model.name,
            "settings": dict(model.settings),
            "states": list(states),
            "sha256": _digest(model.name, model.settings, states),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with explained(self.path, "the weights cannot be written"):
            self.path.parent.mkdir(exist_ok=True)
            write(self.path, buffer.getbuffer(), forced=True)

    def load(self) -> Weights:
        """Read the weights of a trial that has ended."""
        trial = self._identity["trial"]
        try:
            content = self.path.read_bytes()
            found = _document(content, where="the file")
            for key, value in self._identity.items():
                if found.get(key) != value:
                    raise ConfigError(
                        f"the file: must be of {key} {value}, it is of {found.get(key)}"
                    )
            return _weights(found, where="the file", source=trial)
        except (OSError, RegrowError) as error:
            told = "the file is not there" if isinstance(error, FileNotFoundError) else str(error)
            raise StoreError(lost_weights(self.path, trial, told)) from error


def read_weights(path: str, *, plain: ModelChoice, sha256: str | None = None) -> Weights:
    """Read a file that a user named: of `WeightsFile`, or a plain ``state_dict`` that ``torch.save`` wrote."""
    where = f"weights file {path}"
    content = weights_content(path)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ConfigError(
            f"{where}: has changed since the study was begun: its SHA-256 must be {sha256}, got "
            f"{hashlib.sha256(content).hexdigest()}; put the old file back, or begin anew in another --out"
        )
    found = _document(content, where=where)
    if "format" in found:
        return _weights(found, where=where, source=path)
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        keys = ", ".join(list(found)[:6]) or "nothing"
        raise ConfigError(
            f"{where}: must be a weights file of regrow or hold model.state_dict(), it holds {keys}"
        )
    return Weights(source=path, model=plain, states=(found,))


def _document(content: bytes, *, where: str) -> dict[str, Any]:
    """What torch reads, if it is a dictionary by texts."""
    try:
        found: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"{where}: is damaged or is no file of weights alone ({told})") from error
    if not isinstance(found, dict) or not all(
        isinstance(key, str) for key in cast("dict[object, object]", found)
    ):
        raise ConfigError(f"{where}: must hold a dictionary of weights, got {type(found).__name__}")
    return cast("dict[str, Any]", found)


def _weights(found: Mapping[str, Any], *, where: str, source: str) -> Weights:
    if (found.get("format"), found.get("version")) != (FORMAT, VERSION):
        raise ConfigError(
            f"{where}: must be of format {FORMAT} {VERSION}, got {found.get('format')} {found.get('version')}"
        )
    lacking = [key for key in _PARTS if key not in found]
    if lacking:
        raise ConfigError(
            f"{where}: must hold {', '.join(_PARTS)}, {', '.join(lacking)} is missing"
        )
    if _digest(found["model"], found["settings"], found["states"]) != found["sha256"]:
        raise ConfigError(f"{where}: its checksum does not match: the weights are damaged")
    model = ModelChoice(name=found["model"], settings=found["settings"])
    return Weights(source=source, model=model, states=tuple(found["states"]))


def _digest(model: str, settings: Mapping[str, Any], states: Sequence[State]) -> str:
    """The hash of the network and of all names, kinds and numbers, in their order."""
    told = hashlib.sha256(f"{model}\0{sorted(settings.items())!r}\0".encode())
    for index, state in enumerate(states):
        for name, value in state.items():
            told.update(f"{index}/{name}\0".encode())
            if isinstance(value, Tensor):
                told.update(f"{value.dtype} {tuple(value.shape)}\0".encode())
                flat = value.detach().cpu().contiguous().flatten()
                told.update(flat.view(torch.uint8).numpy().tobytes())
            else:
                told.update(repr(value).encode())
    return told.hexdigest()
