"""KeptCalls: what the newest training pass was called with, so that it can be made once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from regrow.graph.calling import tensors_in
from regrow.graph.frames import Arguments

_KINDS: Final = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True, kw_only=True)
class KeptCall:
    """One call of a model, or of a part of it."""

    module: nn.Module  # what was called
    arguments: Arguments  # with what: the caller's own tensors, not copies
    versions: tuple[int, ...]  # how often each of them had been written into by then
    # The type to which it cast, by kind of device; devices on which it was off are not there.
    autocast: Mapping[str, torch.dtype]

    @property
    def is_whole(self) -> bool:
        """Whether nobody has written into the arguments since."""
        return _versions(self.arguments) == self.versions


class KeptCalls:
    """References to what was called since the last optimizer step: no operation, and no copy."""

    def __init__(self) -> None:
        self._who: dict[int, bool] = {}
        self._over = False
        self.asked = False  # whether anybody wants them
        self.whole = True  # whether calls of the whole model are enough for all who do
        # The newest call by path, in the order of the calls; one of the whole model is alone.
        self.newest: dict[str, KeptCall] = {}

    def ask(self, who: object, *, wanted: bool, whole: bool) -> bool:
        """Say for the coming step whether calls are wanted; whether that changes what must be looked at."""
        before = self.asked, self.whole
        # What was kept belongs to a step that has ended. It stays until there is something newer, for what is renewed
        # between two steps.
        self._over = True
        self._who.pop(id(who), None)
        if wanted:
            self._who[id(who)] = whole
        self.asked, self.whole = bool(self._who), all(self._who.values())
        if not self.asked:
            self.newest = {}
        return before != (self.asked, self.whole)

    def keep(self, path: str, module: nn.Module, given: Arguments) -> None:
        """A training pass begins."""
        if self._over or path == "":
            self.newest, self._over = {}, False
        self.newest.pop(path, None)
        self.newest[path] = KeptCall(
            module=module, arguments=given, versions=_versions(given), autocast=_autocast()
        )


def _versions(given: Arguments) -> tuple[int, ...]:
    return tuple(
        -1 if each.is_inference() else each._version  # pyright: ignore[reportPrivateUsage]
        for each in tensors_in(given)
    )


def _autocast() -> dict[str, torch.dtype]:
    return {
        kind: torch.get_autocast_dtype(kind) for kind in _KINDS if torch.is_autocast_enabled(kind)
    }
