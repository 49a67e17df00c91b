"""Whose filters came together with whose in a trace, and by what: what `Filters.coupled` and its like are made of.

One a `SetTable`, which tells it of each union that has a reason; `graph/assemble.py` reads it at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_KEEP_APART: Final = frozenset({"summed", "read together"})
"""What each filter adds can still be told apart."""


@dataclass(frozen=True)
class Reason:
    """What brought several sets together."""

    # ``summed``, ``multiplied``, ``joined`` for operations on equal shapes; ``mixed`` for those that run across
    # channels or positions. Layers of which no two filters meet in such an operation (a maximum over branches) are
    # remembered as joined; those whose filters are multiplied with a sum of themselves as mixed.
    verb: str
    # The operation and the module that ran it, such as ``layer_norm in 'blocks.0.norm'``.
    place: str


class Meetings:
    """Who met whom, layer by layer."""

    def __init__(self) -> None:
        # What was noted already. Without it the partners of a stream would be put together once a channel and a block.
        self._noted: set[tuple[object, ...]] = set()
        # By layer, in the order met: where its filters came together with each other ("mixed by ...").
        self.mixed: dict[int, dict[str, None]] = {}
        # By layer, with the verb: the layers whose filters joined its own, and the labels of what is no filter.
        self.partners: dict[int, dict[tuple[str, int | str], None]] = {}

    def note(
        self,
        why: Reason,
        sets: Sequence[tuple[frozenset[int], frozenset[str]]],
        *,
        filters: Callable[[], Iterable[Mapping[int, frozenset[int]]]],
    ) -> None:
        """Different sets came together: their layers and labels, and their `filters` by layer, if that matters."""
        # Filters that are summed, or read by one layer, still add each a part of their own. Anything else that brings a
        # layer's filters together (a softmax over them) makes channels of which none is one filter's.
        mixed = frozenset[int]()
        if why.verb not in _KEEP_APART:
            mixed = _layers_that_meet_themselves(filters(), pairs=why.verb == "mixed")
            for layer in mixed:
                self.mixed.setdefault(layer, {})[f"mixed by {why.place}"] = None
            # Mixed is said of a layer's own filters. Those of different layers that met in the same operation are
            # joined.
            if why.verb == "mixed":
                why = Reason("joined", why.place)
        # Channels by the hundred repeat the same layers; which filters they are does not matter here.
        counts = Counter(layers for layers, _ in sets)
        kinds = set(sets)
        twice = frozenset(group for group, times in counts.items() if times > 1)
        key = (why.verb, mixed, frozenset(kinds), twice)
        if key in self._noted:
            return
        self._noted.add(key)
        for group, times in counts.items():
            # With itself a group is a partner only where it comes twice: two filters of one layer in one channel are
            # coupled, one filter of it among strangers is not coupled with its own layer.
            others = frozenset[int]().union(*(each for each in counts if each is not group))
            # Labels that every set of these layers bore before have not come with this operation.
            had = frozenset.intersection(*(labels for each, labels in kinds if each == group))
            met = frozenset[str]().union(*(labels for _, labels in kinds)) - had
            for layer in group - mixed:
                partners = self.partners.setdefault(layer, {})
                for label in sorted(met):
                    partners[why.verb, label] = None
                for other in sorted(others | group if times > 1 else others):
                    partners[why.verb, other] = None


def _layers_that_meet_themselves(
    sets: Iterable[Mapping[int, frozenset[int]]], *, pairs: bool
) -> frozenset[int]:
    """The layers of which different filters are in different ones of these sets."""
    # Without `pairs` one filter that meets one other does not count: half of the channels may gate the other half.
    first: dict[int, frozenset[int]] = {}
    met: set[int] = set()
    for by_layer in sets:
        # Compared with the first alone: where any two of a layer's parts differ, one of them differs from the first.
        for layer, atoms in by_layer.items():
            known = first.setdefault(layer, atoms)
            # In GLU filter 3 meets filter 35 and nobody else, so that a channel still tells who is in it. A filter
            # that meets a sum of others, or a sum with itself as in channel attention, is mixed.
            if known != atoms and (pairs or len(known) > 1 or len(atoms) > 1):
                met.add(layer)
    return frozenset(met)
