"""What is left of filters that give 0: followed by running each operation on zeros.

`graph/twin.py` calls `left_of_zeros` around the rule of each operation; `graph/assemble.py` asks `heard` at the end,
and the answer (`Filters.offset`) keeps drop phases away from such layers.

A filter whose weights, bias and norm entries are 0 gives 0. It is gone from a sum only if it is still 0 there: behind a
sigmoid a half is left of it, behind a shift by hand the shift. Whether an operation makes something of 0 is seen by
running it once more with zeros for what filters give and numbers of no meaning for the model's own tensors, which
training moves: so activations, pooling, products and branches need no list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from regrow.graph.calling import map_tensors
from regrow.graph.filters import Filters
from regrow.graph.gates import gates
from regrow.graph.record import Call, LayerRecord, Record, Run, tensors_in
from regrow.graph.sets import Offset, different, renamed, squeezed
from regrow.graph.wiring import Wiring

_SOMETHING: Final = 0.7
"""Stands for what is left of filters where something is."""


def left_of_zeros(call: Call, record: Record, run: Run) -> Callable[[], None]:
    """Look what an operation makes of filters that give 0; call what this gives to note it in the outputs' names."""
    # Looked at before the operation's rule, which may write over what flows in; noted after it.
    given = tensors_in(call.arguments.values())
    names = {id(each): found for each in given if (found := _names(record, each)) is not None}
    if not names:
        return _nothing
    outputs = len(call.outputs)
    # Two questions, two runs. What does it make of zeros itself (a sigmoid: a half), and what becomes of what was left
    # before (behind a ReLU the half stays, behind times 0 it is gone)? One run could not tell the two apart.
    bias = _own_bias(call, record, given, names)
    had = any(_has_offsets(record, each) for each in names.values())
    gone = partial(_made, run, record, names, bias=bias, outputs=outputs, numbers=had)
    kept = gone(left=True) if had else ()
    made = gone(left=False)

    def note() -> None:
        for number, out in enumerate(call.outputs):
            if len(call.outputs) > 1 and not out.is_floating_point():
                continue  # places, and masks of dropout
            new = made[number] if number < len(made) else None
            old = kept[number] if number < len(kept) else None
            _rename(call, record, out, new=new, old=old)

    return note


def _nothing() -> None:
    """Nothing flows in."""


def _names(record: Record, tensor: Tensor) -> Tensor | None:
    found = record.ledger.names_if_alike(tensor)
    small = None if found is None else squeezed(found, found.ndim)
    return small if small is not None and bool(small.any()) else None


def _has_offsets(record: Record, names: Tensor) -> bool:
    return any(map(record.table.offsets, different(names)))


def _made(
    run: Run,
    record: Record,
    names: Mapping[int, Tensor],
    *,
    left: bool,  # let something be left where something is; False: of all filters nothing is
    bias: Tensor | None,
    outputs: int,
    numbers: bool,  # do not count what is no number: 0 / 0, where the second is in truth not 0
) -> Sequence[Tensor | None]:
    """Where an operation gives anything but 0, of its outputs one after the other."""

    def instead(_: str, value: object) -> object:
        return map_tensors(value, zeroed)

    def zeroed(tensor: Tensor) -> Tensor:
        if tensor is bias:
            return torch.zeros_like(tensor)
        return _gone(record, tensor, names.get(id(tensor)), left=left)

    try:
        out = tensors_in((run(instead),))
        return [(each != 0) & (each == each) if numbers else each != 0 for each in out]  # noqa: PLR0124
    except (RuntimeError, IndexError, TypeError, ValueError):
        # On the safe side: a layer of which something may be left is not dropped.
        something = torch.ones((), dtype=torch.bool, device="cpu")
        return [something] * outputs  # it is not known


def _gone(record: Record, tensor: Tensor, names: Tensor | None, *, left: bool) -> Tensor:
    """A tensor as it is where all filters give 0."""
    if names is None:
        notes = record.ledger.find(tensor)
        own = notes is not None and (notes.own or bool(record.ledger.owners(tensor)))
        if tensor.is_meta:
            return torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")
        if not own or not tensor.is_floating_point():
            return tensor.clone()
        # Not the values that are there. A shift that begins with 0 would look as if it kept 0, and training moves it; a
        # gain of 0 would look as if it took away what is left.
        numbers = torch.linspace(0.5, 1.5, tensor.numel(), dtype=torch.float64, device="cpu")
        return numbers.reshape(tensor.shape).to(tensor)
    if tensor.is_meta:
        tensor = torch.ones(tensor.shape, dtype=tensor.dtype, device="cpu")
    values = tensor.masked_fill(names.to(tensor.device) != 0, 0)
    if left and _has_offsets(record, names):
        flags = renamed(names, lambda name: bool(record.table.offsets(name))).bool()
        values = values.masked_fill(flags.to(tensor.device), _SOMETHING)
    return values


def _own_bias(
    call: Call, record: Record, given: Sequence[Tensor], names: Mapping[int, Tensor]
) -> Tensor | None:
    """A layer's bias, which torch adds by itself where the input is not contiguous: it is 0 with the filters."""
    # `heard` sees whether it is theirs in the end.
    if call.op != "add" or len(given) != 2:
        return None
    first, second = given
    x, bias = (first, second) if id(first) in names else (second, first)
    own = record.ledger.owners(bias)
    if id(x) not in names or id(bias) in names or len(own) != 1:
        return None
    filters = {record.table.single(name) for name in different(names[id(x)]) if name}
    numbers = {None if each is None else each[0] for each in filters}
    number = numbers.pop() if len(numbers) == 1 else None
    name = next(iter(own))
    if number is None or record.late_biases.get(name) != frozenset({record.layers[number].weight}):
        return None
    return bias


def _rename(
    call: Call,
    record: Record,
    out: Tensor,
    *,
    new: Tensor | None,
    old: Tensor | None,
) -> None:
    """Other names for sets of which something is left now, or nothing any more."""
    table, ledger = record.table, record.ledger
    names = ledger.names(out)
    if names is None:
        return
    has_new = new is not None and bool(new.any())
    has_old = _has_offsets(record, squeezed(names, names.ndim))
    if not has_new and not has_old:
        return
    none = torch.zeros((), dtype=torch.bool, device="cpu")
    new = none if new is None else new.cpu()
    old = none if old is None else old.cpu()
    # The outputs of a trial run may have other axes than those that were named. Then what is left anywhere is left
    # everywhere.
    if new.ndim and new.shape != names.shape:
        new, old = new.any(), old.any()
    small, fresh, stays = (squeezed(each, names.ndim) for each in (names, new, old))
    # Name and both answers in one number, so that each combination is worked out once and not once an element.
    keys = small.to(torch.int64) * 4 + fresh * 2 + stays

    def left(key: int) -> int:
        name = key // 4
        if name and not key % 4:
            name = table.plain(name)
        return table.with_offset(name, call.place) if name and key & 2 else name

    ledger.write(out, renamed(keys, left).expand(names.shape))


def heard(record: Record, wiring: Wiring) -> dict[str, str]:
    """The layers of which something is heard when some of their filters give 0: by what, and where."""
    # What is left of filters is not heard where those who read it read nobody else: their slices are 0 then.
    return _Hearing(record, wiring).layers()


class _Hearing:
    def __init__(self, record: Record, wiring: Wiring) -> None:
        self._record = record
        self._table = record.table
        self._by_number = wiring.layers
        # Gates are never dropped alone, so that their 0 need not be thought of.
        ignored = {path for path, gate in gates(wiring).items() if gate.only}
        self._ignored = {
            number for number, layer in enumerate(self._by_number) if layer.path in ignored
        }
        self._found: dict[str, str] = {}
        self._besides: dict[int, list[Offset]] = {}
        self._possible: dict[Offset, bool] = {}

    def layers(self) -> dict[str, str]:
        """The answer."""
        for number, layer in enumerate(self._record.layers):
            self._note_biases(number, layer)
        for path, norm in self._record.norms.items():
            # An entry of a norm that sees several filters has a shift that is none of theirs: it is there when they are
            # gone.
            for seen in () if norm.kind == "layer_norm" else norm.seen:
                alone = {self._table.plain(name) for name in seen}
                for name in alone if len(alone) > 1 else ():
                    self._note_besides(Offset(self._table.atoms(name), f"'{path}'"))
        channels = {
            (self._table.union(seen), layer.standardised)
            for layer in self._record.layers
            for seen in layer.reads
        }
        for name, standardised in channels:
            self._look(name, standardised=standardised)
        for offset in self._record.lost:
            if self._can_be_left(offset):
                self._flag(offset)
        self._follow_grouped()
        return self._found

    def _note_biases(self, number: int, layer: LayerRecord) -> None:
        """What is added to a layer's filters and is not their own bias stays when they are 0."""
        if self._by_number[number].biased:
            place = f"the bias of '{self._by_number[number].path}', which is not its own"
            for name in layer.names.tolist():
                self._note_besides(Offset(self._table.atoms(name), place))

    def _note_besides(self, offset: Offset) -> None:
        for atom in offset.atoms:
            self._besides.setdefault(atom, []).append(offset)

    def _look(self, name: int, *, standardised: bool) -> None:
        """One channel of a reader: whether it holds more than that of which something is left."""
        there = self._table.atoms(name)
        found = set(self._table.offsets(name))
        if self._besides:
            found.update(each for atom in there for each in self._besides.get(atom, ()))
        for offset in found:
            if not self._can_be_left(offset):
                continue
            # Where filters are multiplied, one that is 0 makes the product 0: something is left already then, while
            # their readers' slice is kept for the others.
            mine = self._kept(offset.atoms)
            alone = len(mine) == 1 or not self._multiplied(offset.atoms)
            together = alone and mine == self._kept(there)
            # Who reads just these filters, and by a plain weight, has zeros in the place of their slice: nothing is
            # heard. With others in the channel the slice stays, and what is left comes through it.
            if standardised or not together:
                self._flag(offset)

    def _kept(self, atoms: frozenset[int]) -> frozenset[int]:
        """Without those that only switch others."""
        if not self._ignored:
            return atoms
        layer_of = self._table.layer_of
        return frozenset(atom for atom in atoms if layer_of(atom) not in self._ignored)

    def _layers_of(self, atoms: Iterable[int]) -> list[Filters]:
        """Of each filter among them its layer."""
        numbers = map(self._table.layer_of, atoms)
        return [self._by_number[number] for number in numbers if number is not None]

    def _multiplied(self, atoms: frozenset[int]) -> bool:
        return any(layer.multiplied for layer in self._layers_of(atoms))

    def _can_be_left(self, offset: Offset) -> bool:
        """Whether all its filters may be out, and nothing else is there in the smaller network either."""
        known = self._possible.get(offset)
        if known is None:
            others = any(self._table.layer_of(atom) is None for atom in offset.atoms)
            known = bool(self._kept(offset.atoms)) and not (
                self._holds_a_layer(offset.atoms) or (others and not self._multiplied(offset.atoms))
            )
            self._possible[offset] = known
        return known

    def _holds_a_layer(self, atoms: frozenset[int]) -> bool:
        """Whether all filters of a layer are among them: they are never out together."""
        counts = Counter(map(self._table.layer_of, atoms))
        return any(
            count == self._by_number[number].count
            for number, count in counts.items()
            if number is not None
        )

    def _flag(self, offset: Offset) -> None:
        for layer in self._layers_of(self._kept(offset.atoms)):
            # Of several causes always the same one: they are kept in sets, whose order is another in each process.
            self._found[layer.path] = min(self._found.get(layer.path, offset.place), offset.place)

    def _follow_grouped(self) -> None:
        """Who is read by groups takes those groups out with it: what is left of them is left of it."""
        # From the end to the front: a chain of depthwise layers is followed to its beginning in one walk.
        for layer in reversed(self._by_number):
            for reader in layer.readers:
                if reader.groups > 1 and reader.path in self._found:
                    self._found.setdefault(layer.path, self._found[reader.path])
