"""Layers that switch others: their filters are multiplied with other filters, and giving 0 is no absence of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regrow.graph.streams import is_shared
from regrow.graph.wiring import Wiring


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A layer that is, or may be, a gate.

    Attributes:
        over: What it is multiplied with: module paths, and labels of what is no filter.
        sure: It is worked out from what it is multiplied with, as in squeeze-and-excitation. Otherwise nobody can tell
            from the wiring which of the two switches the other.
        only: Its filters are multiplied, and in no other way part of what is read: a channel of which everything else
            is 0 is 0.
    """

    over: tuple[str, ...]
    sure: bool
    only: bool


def gates(wiring: Wiring) -> dict[str, Gate]:
    """The layers whose filters cannot be taken out of a network by giving 0.

    Behind ``x * sigmoid(g(x))`` a filter of g that gives 0 halves a channel of x. A filter of x that gives 0 is gone,
    whatever the gate says: such layers are no gates. A layer is a gate where a layer that it is multiplied with comes
    before it; where neither comes before the other, both may be.

    Args:
        wiring: From `regrow.trace`.

    Returns:
        By module path.

    Examples:
        >>> import torch, regrow
        >>> class Net(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.x, self.g = torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 1)
        ...         self.head = torch.nn.Conv2d(4, 2, 1)
        ...     def forward(self, x):
        ...         x = self.x(x)
        ...         return self.head(x * self.g(x.mean((2, 3), keepdim=True)).sigmoid())
        >>> gates(regrow.trace(Net(), torch.zeros(1, 1, 6, 6)))
        {'g': Gate(over=('x',), sure=True, only=True)}
    """
    behind = _behind(wiring)
    found: dict[str, Gate] = {}
    for layer in wiring.layers:
        if layer.is_head or not is_shared(layer):
            continue
        mine = behind[layer.path]
        # What it is multiplied with goes into it: it is worked out from what it switches, as in squeeze-and-excitation.
        before = tuple(path for path in layer.multiplied if layer.path in behind.get(path, ()))
        # What it goes into itself is its gate, and not the other way round. Of two branches that are multiplied,
        # neither comes before the other: either may be the one that switches, and to drop the wrong one halves the
        # other's channel.
        unclear = tuple(path for path in layer.multiplied if path not in mine)
        if before or unclear:
            only = all(each.startswith("multiplied with") for each in layer.coupled.split("; "))
            found[layer.path] = Gate(
                over=before or unclear, sure=bool(before), only=only and bool(before)
            )
    return found


def _behind(wiring: Wiring) -> Mapping[str, set[str]]:
    """By layer, all layers that what it gives goes into, through whatever lies between."""
    behind: dict[str, set[str]] = {}
    # From the end to the front, so that what lies behind a reader is known when its writers ask.
    for layer in reversed(wiring.layers):
        reached = behind.setdefault(layer.path, set())
        for reader in layer.readers:
            reached |= {reader.path} | behind.get(reader.path, set())
    return behind
