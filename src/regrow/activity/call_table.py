"""CallTable: where something is read in a pass, and who takes it.

One a meter, which fills it with the outlets and inlets that anybody asks for (`enter`). While a pass runs each function
call is looked up here: in a model that is read this is asked as often as anything is, and so it does the least it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

from torch import Tensor
from torch.overrides import TorchFunctionMode

from regrow.graph.calling import tensors_in
from regrow.graph.flows import Site
from regrow.graph.frames import Frame, Frames


class Kept(Protocol):
    """What is kept of an outlet; `broken` once something came another way than the traced one."""

    broken: bool


_Entry = tuple[Site, Callable[[Tensor], None], Kept | None]
"""Where something is read, who takes it, and of an outlet what is kept of it."""


class CallTable(TorchFunctionMode):
    """Shows function calls to those who read them; a mode that is on while a pass runs."""

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self._frames = frames  # the calls of modules that are under way
        # By module and the name of a function that is called in it.
        self._entries: dict[str, dict[str, list[_Entry]]] = {}

    def clear(self) -> None:
        """Nothing is read any more."""
        self._entries = {}

    def enter(self, site: Site, take: Callable[[Tensor], None], kept: Kept | None) -> None:
        """Read an argument of a call; `kept` is what is kept of an outlet."""
        functions = self._entries.setdefault(site.module, {})
        functions.setdefault(site.function, []).append((site, take, kept))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Read, and call."""
        named = kwargs or {}
        frame = self._frames.top
        functions = None if frame is None else self._entries.get(frame.path)
        if frame is not None and functions is not None:
            name = getattr(func, "__name__", "")
            entries = functions.get(name)
            if entries is not None:
                number = frame.counts[name]
                frame.counts[name] = number + 1
                _take(entries, frame.call, number, args, named)
        return func(*args, **named)

    def check(self, ended: Iterable[Frame]) -> None:
        """A pass is over, with these calls of modules: what came another way than the traced one tells nothing."""
        # A branch that calls `relu` once more shifts all later calls by one: their values would be of other filters.
        for frame in ended:
            functions = self._entries.get(frame.path, {})
            for name, count in frame.counts.items():
                for site, _, kept in functions.get(name, ()):
                    if site.times != count and kept is not None and site.call in (-1, frame.call):
                        kept.broken = True
        for functions in self._entries.values():
            for site, _, kept in chain.from_iterable(functions.values()):
                calls = self._frames.calls[site.module]
                if site.call >= 0 and kept is not None and calls not in (0, site.calls):
                    kept.broken = True


def _take(
    entries: Sequence[_Entry], call: int, number: int, args: Sequence[Any], named: Mapping[str, Any]
) -> None:
    """A function is about to be called, for the `number`-th time from 0 in a module's call number `call`."""
    for site, take, _ in entries:
        if site.number == number and site.call in (-1, call):
            first = args[0] if args else None  # nearly always the one, and found without a search
            if site.argument == 0 and isinstance(first, Tensor):
                take(first)
                continue
            tensors = list(tensors_in((args, named)))
            if site.argument < len(tensors):
                take(tensors[site.argument])
