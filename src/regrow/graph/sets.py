"""Sets of filters under small integer names, and their unions over whole tensors of names.

One table a trace, held by the `Record`: all rules unite names here, `graph/assemble.py` asks who is in them.

A trace keeps, with each activation, a tensor of the same shape whose elements name the set of filters that the
activation's element depends on. Name 0 is the empty set: constants. What is no constant and no filter's either (the
model's input) is a set of its own, so that no filter passes for the only one behind a channel. A set goes by several
names where something else than 0 is left of filters that give 0 (`Offset`): what they are left of is the same set.
Tensors of names repeat few values, so every union is worked out once a distinct pair, never once an element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import torch
from torch import Tensor

from regrow.graph.meetings import Meetings, Reason

NAMES: Final = torch.int32
"""The type of a tensor of names."""


@dataclass(frozen=True)
class Offset:
    """What is left, other than 0, of a set of filters that all give 0: behind a sigmoid a half."""

    atoms: frozenset[int]  # the set
    place: str  # the operation that makes it, and the module that ran it


class SetTable:
    """All sets of one trace, by their *atoms*: each is one filter of a layer, or no filter and has a label."""

    def __init__(self) -> None:
        self._atoms: list[frozenset[int]] = [frozenset()]
        self._layers: list[frozenset[int]] = [frozenset()]
        self._labels: list[frozenset[str]] = [frozenset()]
        self._foreign: dict[str, int] = {}
        self._offsets: list[frozenset[Offset]] = [frozenset()]
        # A set goes by several names, one for each choice of what is left of it. Who counts filters asks for the plain
        # one, or a filter behind a sigmoid would be another filter than the one before it.
        self._plain: list[int] = [0]
        self._name_of: dict[tuple[frozenset[int], frozenset[Offset]], int] = {
            (frozenset(), frozenset()): 0
        }
        self._layer_of_atom: list[int | None] = []  # None: it is no filter
        self._first_atom: list[int] = []
        self._folded: dict[tuple[int, str], int] = {}
        # Answers that are asked for again and again: `single` for each name of each tensor at each call of a function.
        self._parts: dict[int, dict[int, frozenset[int]]] = {0: {}}
        self._singles: dict[int, tuple[int, int] | None] = {}
        self._united: dict[tuple[Set[int], Reason | None], tuple[int, int]] = {}
        self.unions = 0
        """How often different sets came together."""
        self.meetings = Meetings()
        """Whose filters came together with whose."""

    def add_layer(self, count: int) -> Tensor:
        """The names of one set for each filter of a new layer, (count,); layers are numbered as they come."""
        layer = len(self._first_atom)
        first = len(self._layer_of_atom)
        self._first_atom.append(first)
        self._layer_of_atom.extend([layer] * count)
        alone, none = frozenset((layer,)), frozenset[str]()
        names = [self._name(frozenset((first + k,)), alone, none) for k in range(count)]
        return as_names(names)

    def foreign(self, label: str) -> int:
        """The set with one member that stands for something that no filter made; the same for the same label."""
        if label not in self._foreign:
            self._foreign[label] = self._no_filter(frozenset(), label)
        return self._foreign[label]

    def is_pure(self, name: int) -> bool:
        """Whether a set holds nothing but filters."""
        return not self._labels[name]

    def filters_of(self, name: int) -> list[tuple[int, int]]:
        """The members of a set as (layer number, filter index), in order."""
        members = ((self._layer_of_atom[atom], atom) for atom in sorted(self._atoms[name]))
        return [
            (layer, atom - self._first_atom[layer]) for layer, atom in members if layer is not None
        ]

    def single(self, name: int) -> tuple[int, int] | None:
        """The only member of a set as (layer number, filter index); None where it has others, or what is no filter."""
        if name not in self._singles:
            alone = self.size(name) == 1 and self.is_pure(name)
            self._singles[name] = self.filters_of(name)[0] if alone else None
        return self._singles[name]

    def shared(self, names: Iterable[int]) -> frozenset[int]:
        """The atoms that are members of any of these sets together with something else."""
        return frozenset[int]().union(
            *(self._atoms[name] for name in names if self.single(name) is None)
        )

    def atom(self, layer: int, unit: int) -> int:
        """The atom that stands for one filter of a layer."""
        return self._first_atom[layer] + unit

    def layers_of(self, names: Iterable[int]) -> frozenset[int]:
        """The layers whose filters are members of any of these sets."""
        return frozenset[int]().union(*(self._layers[name] for name in names))

    def size(self, name: int) -> int:
        """Number of members of a set; what was folded counts as one."""
        return len(self._atoms[name])

    def plain(self, name: int) -> int:
        """The name under which a set goes where nothing is left of filters that give 0."""
        return self._plain[name]

    def offsets(self, name: int) -> frozenset[Offset]:
        """What is left, other than 0, where all filters of a part of a set give 0."""
        return self._offsets[name]

    def with_offset(self, name: int, place: str) -> int:
        """Another name of a set, of which something else than 0 is left where all its filters give 0."""
        made = Offset(self._atoms[name], place)
        return self._renamed(name, self._offsets[name] | {made})

    def without_own_offsets(self, name: int) -> int:
        """A name of a set of which nothing is left where all its filters give 0; what is left of some of them stays."""
        mine = self._atoms[name]
        return self._renamed(name, frozenset(o for o in self._offsets[name] if o.atoms != mine))

    def atoms(self, name: int) -> frozenset[int]:
        """The members of a set."""
        return self._atoms[name]

    def layer_of(self, atom: int) -> int | None:
        """The layer whose filter an atom is; None where it stands for what is no filter."""
        return self._layer_of_atom[atom]

    def fold(self, name: int, label: str) -> int:
        """A set with one member, which is no filter, and the same layers: the filters are not told apart any more."""
        # Behind an operation that was refused nobody asks for the filters, and sets of all of them would grow.
        if (name, label) not in self._folded:
            folded = self._no_filter(self._layers[name], label)
            # What is folded and comes back to the same operation, as in a loop over time, is the same: no new set at
            # each turn.
            self._folded[name, label] = self._folded[folded, label] = folded
        return self._folded[name, label]

    def union(self, names: Iterable[int], why: Reason | None = None) -> int:
        """The name of the union of some sets; `why` is remembered as the reason that their layers share a stream."""
        given = frozenset(names) - {0}
        if len(given) < 2:  # most unions are with nothing, or with oneself
            return next(iter(given), 0)
        # A model runs in evaluation and in training mode, and most of what meets in one meets in the other.
        known = self._united.get((given, why))
        if known is not None:
            name, differ = known
            self.unions += differ
            return name
        before = self.unions
        name = self._unite(given, why)
        self._united[given, why] = name, self.unions - before
        return name

    def _unite(self, given: Set[int], why: Reason | None) -> int:
        """The union of several sets that was not asked for before."""
        # By plain names: ``x + sigmoid(x)`` brings a set together with itself, which is no union. Its layer would
        # otherwise be said to be summed with itself.
        distinct = sorted({self._plain[name] for name in given})
        offsets = frozenset[Offset]().union(*(self._offsets[name] for name in given))
        if len(distinct) < 2:
            return self._renamed(distinct[0], offsets) if distinct else 0
        self.unions += 1
        if why is not None:
            self.meetings.note(
                why,
                [(self._layers[name], self._labels[name]) for name in distinct],
                filters=lambda: map(self._by_layer, distinct),
            )
        atoms = frozenset[int]().union(*(self._atoms[name] for name in distinct))
        labels = frozenset[str]().union(*(self._labels[name] for name in distinct))
        return self._renamed(self._name(atoms, self.layers_of(distinct), labels), offsets)

    def join(self, a: Tensor, b: Tensor, why: Reason | None = None) -> Tensor:
        """Element by element union of two tensors of names that broadcast; may share memory with one of them."""
        shape = torch.broadcast_shapes(a.shape, b.shape)
        # Names seldom change over examples and positions: squeezed, a map of a million elements is a row of channels.
        small_a, small_b = squeezed(a, len(shape)), squeezed(b, len(shape))
        small = torch.broadcast_shapes(small_a.shape, small_b.shape)
        if not bool(small_b.any()):
            return a.expand(shape)
        if not bool(small_a.any()):
            return b.expand(shape)
        base = len(self._atoms)
        # The unions below add names. `divmod` must take keys apart with the number that they were put together with.
        keys = small_a.to(torch.int64) * base + small_b
        united = renamed(keys.expand(small), lambda pair: self.union(divmod(pair, base), why))
        return united.expand(shape)

    def join_all(self, parts: Iterable[Tensor | None], why: Reason) -> Tensor | None:
        """`join` of those that are there; None where none is."""
        joined: Tensor | None = None
        for part in parts:
            if part is not None:
                joined = part if joined is None else self.join(joined, part, why)
        return joined

    def along(self, names: Tensor, axis: int, place: str) -> Tensor:
        """The sets along one axis, (size,), each read together over all other axes."""
        over = [other for other in range(names.ndim) if other != axis % names.ndim]
        return self.join_over(names, over, Reason("read together", place)).reshape(-1)

    def join_over(self, names: Tensor, dims: Sequence[int], why: Reason | None = None) -> Tensor:
        """Union over some axes, which stay with size 1."""
        over = sorted({dim % names.ndim for dim in dims}) if names.ndim else []
        shape = [1 if axis in over else size for axis, size in enumerate(names.shape)]
        if names.numel() == 0:
            return torch.zeros(shape, dtype=NAMES, device="cpu")
        small = squeezed(names, names.ndim)
        if all(small.shape[axis] == 1 for axis in over):
            return small.expand(shape)
        kept = [axis for axis in range(names.ndim) if axis not in over]
        table = small.permute(*kept, *over).reshape(
            *(small.shape[axis] for axis in kept), -1
        )  # the united axes come last, as one
        # As in `join`: taken before the unions, which add names.
        base = len(self._atoms)
        flat = table.reshape(-1, table.shape[-1])
        row = torch.arange(flat.shape[0], dtype=torch.int64, device="cpu")[:, None]
        # Runs of equal names are put together first, since what `unique` costs is the sorting.
        keys = torch.unique(torch.unique_consecutive((row * base + flat).flatten())).tolist()
        found: list[int] = []
        # Rows with the same members are united once: behind a mixing operation all of them have the same.
        met: dict[tuple[int, ...], int] = {}
        for _, of_row in groupby(keys, lambda key: key // base):
            members = tuple(key % base for key in of_row)
            if members not in met:
                met[members] = self.union(members, why)
            found.append(met[members])
        reduced = [1 if axis in over else small.shape[axis] for axis in range(names.ndim)]
        return as_names(found).reshape(reduced).expand(shape)

    def _no_filter(self, layers: frozenset[int], label: str) -> int:
        atom = len(self._layer_of_atom)
        self._layer_of_atom.append(None)
        return self._name(frozenset((atom,)), layers, frozenset((label,)))

    def _name(
        self,
        atoms: frozenset[int],
        layers: frozenset[int],
        labels: frozenset[str],
        offsets: frozenset[Offset] = frozenset(),
    ) -> int:
        name = self._name_of.get((atoms, offsets))
        if name is None:
            # The plain name has to be there first: this name refers to it.
            plain = self._name(atoms, layers, labels) if offsets else len(self._atoms)
            name = len(self._atoms)
            self._name_of[atoms, offsets] = name
            self._atoms.append(atoms)
            self._layers.append(layers)
            self._labels.append(labels)
            self._offsets.append(offsets)
            self._plain.append(plain)
        return name

    def _renamed(self, name: int, offsets: frozenset[Offset]) -> int:
        if self._offsets[name] == offsets:
            return name
        return self._name(self._atoms[name], self._layers[name], self._labels[name], offsets)

    def _by_layer(self, name: int) -> dict[int, frozenset[int]]:
        found = self._parts.get(name)
        if found is None:
            parts: dict[int | None, set[int]] = {}
            for atom in self._atoms[name]:
                parts.setdefault(self._layer_of_atom[atom], set()).add(atom)
            found = {layer: frozenset(a) for layer, a in parts.items() if layer is not None}
            self._parts[name] = found
        return found


def as_names(names: int | Sequence[int]) -> Tensor:
    """A tensor of names."""
    return torch.tensor(names, dtype=NAMES, device="cpu")


def different(names: Tensor) -> list[int]:
    """The names in a tensor, each once."""
    return torch.unique(squeezed(names, names.ndim)).tolist()


def renamed(names: Tensor, by: Callable[[int], int]) -> Tensor:
    """For each number in a tensor a name, asked for once a number and not once an element."""
    found, where = torch.unique(names, return_inverse=True)
    return as_names([by(name) for name in found.tolist()])[where]


def squeezed(names: Tensor, ndim: int) -> Tensor:
    """The same names with size 1 along every axis on which they do not change, with `ndim` axes."""
    small = names.reshape((1,) * (ndim - names.ndim) + tuple(names.shape))
    for axis in range(ndim):
        if small.shape[axis] > 1:
            first = small.narrow(axis, 0, 1)
            # An expanded axis is known to be constant without reading it.
            if small.stride(axis) == 0 or torch.equal(first.expand_as(small), small):
                small = first
    return small
