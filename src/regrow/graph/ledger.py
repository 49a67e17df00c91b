"""What is known of each tensor's memory while a model runs: the sets behind its elements, where a weight came from.

One a trace, held by the `Record`: `graph/twin.py` and its rules write to it, `graph/assemble.py` reads it at the end.

Notes are kept by *storage*, not by tensor: a view of a tensor is then a view of its notes, and writing into a slice
is seen by whoever holds the whole. No rule for view, permute, slice or split is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from regrow.graph.dispatch import address
from regrow.graph.notes import Derivation, Notes, Place
from regrow.graph.sets import NAMES, squeezed

_SWEEP_EVERY: Final = 256


class ReinterpretedError(Exception):
    """A storage is read with another element size than it was noted with."""


class Ledger:
    """Notes on every storage that a running model touches."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = dict(tensors)  # the model's parameters and buffers by canonical name
        self._first: dict[str, int] = {}
        self._notes: dict[int, Notes] = {}
        # What the model owns stays itself when it is written into: a running mean that a norm moves is still that
        # buffer.
        self._own = {address(tensor) for tensor in self.tensors.values()}
        self._until_sweep = _SWEEP_EVERY
        total = 0
        for name, tensor in self.tensors.items():
            self._first[name] = total
            total += tensor.numel()
            self._of(tensor).whole.setdefault(name, _place(tensor))
        # Memory and not identity: a parameter that looks into another one is another tensor, and yet a renewal of the
        # one writes the other.
        self.overlaps = {name: group for group in self._groups() for name in group}
        """Of the model's tensors that have memory in common with others, all of those, by name."""

    def find(self, tensor: Tensor) -> Notes | None:
        """The notes on a tensor's storage; None where nothing was noted, or a sparse tensor has no one storage."""
        return self._notes.get(address(tensor)) if tensor.layout == torch.strided else None

    def is_live(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the example inputs."""
        notes = self.find(tensor)
        return notes is not None and notes.live

    def names(self, tensor: Tensor | None) -> Tensor | None:
        """The names behind a tensor's elements, to be read; None where every set is empty, or there is no tensor."""
        # In the tensor's shape; along axes on which they do not change they are mostly one number, by a stride of 0.
        notes = None if tensor is None else self.find(tensor)
        if tensor is None or notes is None or notes.present is None:
            return None
        if notes.itemsize != tensor.element_size():
            if notes.blurred is None:
                raise ReinterpretedError
            return torch.full(tensor.shape, notes.blurred, dtype=NAMES, device="cpu")
        place = _place(tensor)
        if notes.row is not None and notes.row[0] == place:
            return notes.row[1].expand(tensor.shape)
        return _seen_by(notes, place)

    def names_if_alike(self, tensor: Tensor) -> Tensor | None:
        """`names`, and None too where the tensor looks at its storage as another type of number."""
        try:
            return self.names(tensor)
        except ReinterpretedError:
            return None

    def names_for_writing(self, tensor: Tensor) -> Tensor:
        """A view of the notes, one name an element of the tensor; begun where there are none."""
        notes = self._of(tensor)
        if notes.laid_out() is None:
            # The first to write decides which type of number the notes count in: empty memory has none of its own.
            notes.itemsize, notes.length = _measure(tensor)
            notes.names = torch.zeros(notes.length, dtype=NAMES, device="cpu")
        if notes.itemsize != tensor.element_size():
            raise ReinterpretedError
        notes.row = None
        return _seen_by(notes, _place(tensor))

    def blur(self, tensor: Tensor, name: int) -> None:
        """Give up telling the elements of a tensor's storage apart: one set stands for each of them."""
        notes = self._of(tensor)
        notes.blurred, notes.row = name, None
        notes.names = torch.full((notes.length,), name, dtype=NAMES, device="cpu")

    def write(self, tensor: Tensor, names: Tensor | None) -> None:
        """Note the sets behind a tensor's elements, by names that broadcast to its shape; None = all empty."""
        notes = self.find(tensor)
        small = None if names is None else squeezed(names.expand(tensor.shape), tensor.ndim)
        # For constants no notes are begun: most storages of a run never get any, and the run stays as fast as it is.
        if small is None or not bool(small.any()):
            if notes is not None and notes.present is not None:
                self.names_for_writing(tensor).zero_()
            return
        notes, place = self._of(tensor), _place(tensor)
        itemsize, length = _measure(tensor)
        if length != tensor.numel() or not _is_dense(place) or notes.blurred is not None:
            self.names_for_writing(tensor).copy_(small)
            return
        if notes.present is not None and notes.itemsize != itemsize:
            raise ReinterpretedError
        notes.itemsize, notes.length, notes.names = itemsize, length, None
        # Copied: it may be a view of another tensor's names, or of what these were.
        notes.row = place, small.to("cpu", NAMES, copy=True)

    def note_behind(self, tensor: Tensor, names: Iterable[int]) -> None:
        """Note the sets that flowed into a tensor without elements."""
        self._of(tensor).behind.update(names)

    def origins(self, tensor: Tensor) -> Tensor | None:
        """For each element the number of the model's entry that it is, or copies; -1 = of none; None: none has one."""
        notes = self._counted_alike(tensor)
        if notes is None or (notes.origins is None and not notes.whole):
            return None
        if notes.origins is None:
            # Begun when first asked for: eight bytes a weight are much where it is only used whole, as nearly always.
            notes.origins = self._begin_origins(notes)
        return notes.origins.as_strided(*_place(tensor))

    def write_origins(self, tensor: Tensor, origins: Tensor) -> None:
        """Note that a tensor of new memory is put together from the model's entries: int64 in its shape, -1 = none."""
        notes = self._of(tensor)
        notes.origins = _spread(notes, _place(tensor), origins)

    def write_copy(self, tensor: Tensor, source: Tensor) -> None:
        """Note that a tensor of new memory holds the same values as another, perhaps in another precision."""
        # The cheap way first. A cast of ``W`` or of ``W.t()`` is known whole, without a number
        # an entry.
        for turned in (False, True) if tensor.ndim == 2 else (False,):
            name = self.whole(source.t() if turned else source)
            if name is not None:
                self._of(tensor).whole[name] = _place(tensor.t() if turned else tensor)
                return
        origins = self.origins(source)
        if origins is not None:
            self.write_origins(tensor, origins)

    def write_derived(self, tensor: Tensor, derived: Derivation) -> None:
        """Note that a tensor of new memory was worked out from a parameter, filter by filter."""
        notes, place = self._of(tensor), _place(tensor)
        notes.derived = derived.viewed(lambda each: _spread(notes, place, each))

    def overwritten(self, tensors: Iterable[Tensor]) -> None:
        """Forget where tensors came from that something wrote into; the model's own tensors stay themselves."""
        for tensor in tensors:
            notes = self.find(tensor)
            # All of the storage forgets, whatever part of it was written: to forget too much makes a layer one that is
            # left alone, to forget too little would let other numbers pass for its weight.
            if notes is not None and address(tensor) not in self._own:
                notes.whole = {}
                notes.origins = notes.derived = None

    def derived(self, tensor: Tensor) -> Derivation | None:
        """What `write_derived` noted of a tensor, or of the tensor that it looks at; None if nothing."""
        notes = self._counted_alike(tensor)
        if notes is None or notes.derived is None:
            return None
        place = _place(tensor)
        return notes.derived.viewed(lambda each: each.as_strided(*place))

    def whole(self, tensor: Tensor) -> str | None:
        """The name of the model's tensor that this is exactly, element for element in the same shape; None if none."""
        notes = self._counted_alike(tensor)
        if notes is None:
            return None
        place = _place(tensor)
        return next((name for name, known in notes.whole.items() if known == place), None)

    def entries(self, tensor: Tensor) -> tuple[str, Tensor] | None:
        """The model's tensor of which all elements are entries, and their indices, counted row by row; None if none."""
        origins = self.origins(tensor)
        if origins is None or origins.numel() == 0:
            return None
        lowest, highest = int(origins.min()), int(origins.max())
        for name, first in self._first.items():
            if first <= lowest and highest < first + self.tensors[name].numel():
                return name, origins - first
        return None

    def owners(self, tensor: Tensor) -> frozenset[str]:
        """The model's tensors that a tensor holds entries of, copies included; others in the same storage are not."""
        notes = self.find(tensor)
        if notes is None or (notes.origins is None and not notes.whole):
            return frozenset()
        if notes.itemsize != tensor.element_size():
            return frozenset(notes.whole) | self._owners_of(notes.origins)
        place = _place(tensor)
        # By spans, which may meet where no entry does. Parameters side by side in one storage, as flattening makes
        # them, are told apart; interleaved ones count as one another's and are left alone.
        found = frozenset(name for name, own in notes.whole.items() if _meet(own, place))
        return found if notes.origins is None else found | self._owners_of(self.origins(tensor))

    def _owners_of(self, origins: Tensor | None) -> frozenset[str]:
        if origins is None:
            return frozenset()
        numbers = torch.unique(origins)
        firsts = torch.tensor(list(self._first.values()), dtype=torch.int64, device="cpu")
        places = torch.searchsorted(firsts, numbers[numbers >= 0], right=True) - 1
        every = list(self._first)
        return frozenset(every[place] for place in set(places.tolist()))

    def _groups(self) -> list[tuple[str, ...]]:
        """The model's tensors that have memory in common, as a parameter that looks into another one."""
        spans: dict[int, list[tuple[int, int, str]]] = {}
        for name, tensor in self.tensors.items():
            start, stop = _span(_place(tensor))
            size = tensor.element_size()
            if stop > start and tensor.device.type != "meta":
                # In bytes, since tensors of one storage may be of different types.
                spans.setdefault(address(tensor), []).append((start * size, stop * size, name))
        found: list[tuple[str, ...]] = []
        for several in spans.values():
            group, end = list[str](), 0
            for start, stop, name in sorted(several):
                if start >= end and group:
                    found.append(tuple(group))
                    group = []
                group.append(name)
                # The furthest end so far: a short tensor inside a long one must not end the group for the one behind
                # it.
                end = max(end, stop)
            found.append(tuple(group))
        return [group for group in found if len(group) > 1]

    def mark(
        self,
        tensors: Iterable[Tensor],
        *,
        live: bool = False,
        computed: bool = False,
        own: bool = False,
        drawn: bool = False,
        by: str = "",
    ) -> None:
        """Note what tensors were worked out from, as `Notes` has it, beside what is noted already."""
        for tensor in tensors:
            notes = self._of(tensor)
            notes.live |= live
            notes.computed |= computed
            notes.own |= own
            notes.drawn |= drawn
            notes.computed_by = notes.computed_by or by

    def _counted_alike(self, tensor: Tensor) -> Notes | None:
        """The notes on a tensor's storage, where they are of the tensor's own type of number."""
        notes = self.find(tensor)
        return None if notes is None or notes.itemsize != tensor.element_size() else notes

    def _of(self, tensor: Tensor) -> Notes:
        # A storage's address is used again when it is gone. The weak reference in the notes keeps the number taken, or
        # a new activation would begin with the filters of an old one.
        memory = address(tensor)
        notes = self._notes.get(memory)
        if notes is None:
            self._sweep()
            itemsize, length = _measure(tensor)
            notes = Notes(StorageWeakRef(tensor.untyped_storage()), itemsize, length)
            self._notes[memory] = notes
        return notes

    def _sweep(self) -> None:
        """Forget storages that are gone: a long run would otherwise hold the notes of every activation."""
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._until_sweep = _SWEEP_EVERY
            self._notes = {
                key: notes for key, notes in self._notes.items() if not notes.memory.expired()
            }

    def _begin_origins(self, notes: Notes) -> Tensor:
        origins = torch.full((notes.length,), -1, dtype=torch.int64, device="cpu")
        # Backwards, so that the first name of shared memory is the one that stays.
        for name, place in reversed(notes.whole.items()):
            count = self.tensors[name].numel()
            numbers = torch.arange(count, dtype=torch.int64, device="cpu") + self._first[name]
            origins.as_strided(*place).copy_(numbers.reshape(place[0]))
        return origins


def _measure(tensor: Tensor) -> tuple[int, int]:
    itemsize = tensor.element_size()
    return itemsize, tensor.untyped_storage().nbytes() // itemsize


def _place(tensor: Tensor) -> Place:
    return tuple(tensor.size()), tuple(tensor.stride()), int(tensor.storage_offset())


def _spread(notes: Notes, place: Place, numbers: Tensor) -> Tensor:
    """Numbers of a tensor's elements, laid over its storage; -1 where it does not look."""
    spread = torch.full((notes.length,), -1, dtype=torch.int64, device="cpu")
    spread.as_strided(*place).copy_(numbers)
    return spread


def _seen_by(notes: Notes, place: Place) -> Tensor:
    """The names of a storage as a tensor that looks at it would see them."""
    names = notes.laid_out()
    assert names is not None  # noqa: S101 # the callers have seen to it
    # The tensor's own strides, laid over its storage's notes: they find the names of a transposed slice of an
    # expanded view without a rule for any of these.
    return names.as_strided(*place)


def _is_dense(place: Place) -> bool:
    """Whether a tensor looks at as many elements as it has numbers, each once, without a gap and from the first on."""
    sizes, strides, offset = place
    following = 1
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size > 1:
            if stride != following:
                return False
            following *= size
    return offset == 0


def _span(place: Place) -> tuple[int, int]:
    """The first element of a storage that a tensor looks at, and the one behind the last; equal where it has none."""
    sizes, strides, offset = place
    if 0 in sizes:
        return offset, offset
    steps = zip(sizes, strides, strict=True)
    return offset, offset + sum((size - 1) * stride for size, stride in steps) + 1


def _meet(first: Place, second: Place) -> bool:
    (start, stop), (begin, end) = _span(first), _span(second)
    return max(start, begin) < min(stop, end)
