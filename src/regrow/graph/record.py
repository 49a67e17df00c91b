"""What a trace has found so far: which weights were used, what each of their inputs depends on, and what stopped it.

One a trace: `graph/trace.py` begins it, the rules of `graph/twin.py` fill it, `graph/assemble.py` makes the wiring of
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import torch
from torch import Tensor

from regrow.graph.filters import LayerKind, NormTensor
from regrow.graph.ledger import Ledger
from regrow.graph.notes import Notes
from regrow.graph.sets import NAMES, Offset, SetTable, as_names, different
from regrow.graph.users import THE_MODEL, User, Users

Run = Callable[[Callable[[str, object], object]], object]
"""Runs an operation again with its arguments replaced; given a function of an argument's name and value."""


@dataclass
class LayerRecord:
    """One weight that multiplied activations."""

    weight: str  # its parameter name
    kind: LayerKind  # how its axes are laid out
    groups: int  # groups of the convolution
    names: Tensor  # the sets of its filters, (O,)
    # For each input channel the names of the sets that were seen on it, over all calls.
    reads: list[set[int]]
    # What multiplied was worked out from the weight, filter by filter (see `standardised.py`).
    standardised: bool = False
    columns: bool = False  # the weight is a matrix with its filters as columns
    # Parameter names of the biases that came with it.
    biases: dict[str, None] = field(default_factory=dict[str, None])
    # In words, what else came in a bias's place.
    biased: dict[str, None] = field(default_factory=dict[str, None])


@dataclass
class NormRecord:
    """One normalisation layer that was run."""

    kind: str  # as in `Norm`
    # Names of its ``weight``, ``bias``, ``running_mean``, ``running_var``, those that exist.
    tensors: dict[str, str]
    # For each entry the names of the sets that were seen on it, over all calls.
    seen: list[set[int]]
    declared: tuple[NormTensor, ...] = ()  # what the layer itself says of its tensors


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation that has just run."""

    # Its name without namespace, overload and the underscore of in-place variants, such as ``add``.
    op: str
    arguments: Mapping[str, object]  # by the schema's names, defaults filled in
    outputs: Sequence[Tensor]  # the tensors that came out
    path: str  # path of the module that was running
    in_place: bool  # it wrote into one of its arguments

    @property
    def place(self) -> str:
        """The operation and where it ran, for messages."""
        return f"{self.op} in '{self.path}'" if self.path else f"{self.op} in {THE_MODEL}"

    @property
    def tensors(self) -> list[Tensor]:
        """The arguments that are tensors, without those in lists."""
        return [value for value in self.arguments.values() if isinstance(value, Tensor)]

    def tensor(self, name: str) -> Tensor | None:
        """The tensor argument of that name, or None."""
        value = self.arguments.get(name)
        return value if isinstance(value, Tensor) else None

    def number(self, name: str) -> int:
        """The integer argument of that name."""
        return int(str(self.arguments[name]))


@dataclass
class Record:
    """Everything that a trace writes down."""

    ledger: Ledger  # what each tensor's elements depend on
    parameters: frozenset[str]  # names of the model's parameters (the ledger knows the buffers too)
    table: SetTable = field(default_factory=SetTable)  # the sets
    # In the order of their first use; a layer's place here is its number in `table`.
    layers: list[LayerRecord] = field(default_factory=list[LayerRecord])
    norms: dict[str, NormRecord] = field(default_factory=dict[str, NormRecord])  # by module path
    # By layer number: norms whose statistics run across several of its filters.
    statistics: dict[int, dict[str, None]] = field(default_factory=dict[int, dict[str, None]])
    # By layer number: why its readers cannot be known.
    refused: dict[int, str] = field(default_factory=dict[int, str])
    # Who used each of the model's tensors.
    users: Users = field(default_factory=dict[str, dict[User, None]])
    # Of the operation that is being followed: the tensors that it used as what they are.
    claimed: set[str] = field(default_factory=set[str])
    # By the name of a bias, the weights of the modules that hold it.
    late_biases: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    # Weights of layers that are followed as if they had no filters, and gave constants.
    mute: Set[str] = frozenset()
    # Where the trace could not follow, in order.
    stops: dict[str, None] = field(default_factory=dict[str, None])
    # Paths of the modules that were running there.
    stopped: dict[str, None] = field(default_factory=dict[str, None])
    # The weight of each product with a weight, in order.
    used: list[str] = field(default_factory=list[str])
    refusals: int = 0  # how often an operation was given up
    # What is left of filters that give 0, and flows into an operation that was given up.
    lost: set[Offset] = field(default_factory=set[Offset])

    def layer(
        self, weight: str, *, kind: LayerKind, groups: int, columns: bool
    ) -> LayerRecord | None:
        """The record of a weight, begun where there is none; None where it was used in another layout before."""
        # By weight and not by module: tied weights are one layer, whose filters go to the readers of both.
        for known in self.layers:
            if known.weight == weight:
                # A weight that is used with filters along one axis here and along another there: renewing rows would
                # tear the other use.
                layout = known.kind, known.groups, known.columns
                return known if layout == (kind, groups, columns) else None
        shape = self.ledger.tensors[weight].shape
        inputs_first = columns or kind == "conv_transpose"
        count = shape[1] * groups if inputs_first else shape[0]
        inputs = shape[0] if inputs_first else shape[1] * groups
        names = self.table.add_layer(count)
        if weight in self.mute:
            names = torch.zeros_like(names)
        reads = [set[int]() for _ in range(inputs)]
        made = LayerRecord(weight, kind, groups, names, reads, columns=columns)
        self.layers.append(made)
        return made

    def has_parameter(self, tensor: Tensor) -> bool:
        """Whether a tensor holds entries of the model's parameters, copies included."""
        return not self.parameters.isdisjoint(self.ledger.owners(tensor))

    def notes_on(self, call: Call) -> list[Notes]:
        """What is known of the memory of each tensor that an operation takes."""
        found = (self.ledger.find(each) for each in tensors_in(call.arguments.values()))
        return [notes for notes in found if notes is not None]

    def write(self, call: Call, names: Tensor | None) -> None:
        """Note the same sets behind all that came out of an operation."""
        for out in call.outputs:
            self.ledger.write(out, names)

    def note_other_uses(self, call: Call, tensors: Iterable[Tensor]) -> None:
        """Remember who uses some of the model's tensors, or what was worked out of them, in no known role."""
        for tensor in tensors:
            notes = self.ledger.find(tensor)
            derived = None if notes is None or notes.derived is None else notes.derived.parameter
            for name in (*self.ledger.owners(tensor), *([derived] if derived else [])):
                if name not in self.claimed:
                    self.users.setdefault(name, {})[User("", call.place)] = None

    def claim(self, name: str, *, owner: str, path: str) -> None:
        """Remember that one of the model's tensors was used as what it is."""
        # With all that lies in its memory: they come in by the same tensor, and are no other use of it.
        self.claimed.update(self.ledger.overlaps.get(name, (name,)))
        self.users.setdefault(name, {})[User(owner, path)] = None

    def behind(self, tensors: object) -> set[int]:
        """The sets that flow out of tensors: of one without elements, all that is known of its memory."""
        found: set[int] = set()
        for tensor in tensors_in(tensors):
            notes = self.ledger.find(tensor)
            if notes is None:
                continue
            # A tensor without elements can hold no names. On another example it would have elements, so what is known
            # of its memory counts.
            names = self.ledger.names(tensor) if tensor.numel() else notes.present
            found |= notes.behind.union(() if names is None else different(names))
        return found - {0}

    def note_empty(self, call: Call, *, multiplied: bool, moves: bool) -> None:
        """Keep what flowed into tensors that have no elements: on another example they would have some."""
        empty = [tensor for tensor in call.outputs if not tensor.numel()]
        taken = [tensor for tensor in tensors_in(call.arguments.values()) if not tensor.numel()]
        if not (empty or taken):
            return
        if multiplied:
            # A head that works on no box in this example still reads its layers: unseen, they would pass for read by
            # nobody.
            (layer,) = (each for each in self.layers if each.weight == self.used[-1])
            flowed = set(layer.names.tolist())
            self._refuse_unseen(call, taken)
        else:
            flowed = self.behind(call.arguments.values())
        for tensor in empty:
            self.ledger.note_behind(tensor, flowed)
        # What moves elements brings nothing from where there are none into what there is.
        lost = set[int]() if multiplied or moves else self.behind(taken)
        for tensor in call.outputs if lost else ():
            if tensor.numel():  # a sum over nothing
                told = as_names(self.table.union(lost))
                known = self.ledger.names_for_writing(tensor)
                self.ledger.write(tensor, self.table.join(known, told))

    def _refuse_unseen(self, call: Call, taken: Sequence[Tensor]) -> None:
        """Of what a layer reads where there is nothing it is not known on which of its channels it would be."""
        names = self.behind(taken)
        if self.table.layers_of(names):
            self.refuse(
                call,
                [as_names(sorted(names))],
                "on this example it works on nothing",
                advice="; give example inputs on which it has something to work on",
            )

    def give_up(self, call: Call, detail: str, advice: str = "") -> None:
        """As `stop`, but of what works on the model's inputs alone nothing is said: no filter is lost there."""
        names = (name for each in self._flowing_in(call) for name in different(each))
        if self.table.layers_of(names):
            self.stop(call, detail, advice)
        else:
            self.write(call, as_names(self.table.foreign(f"what {call.place} gives")))

    def stop(self, call: Call, detail: str, advice: str = "") -> None:
        """Give up on what flows in: who reads those filters cannot be known, and all that comes out depends on them."""
        self.stopped[call.path] = None
        union = self.refuse(call, self._flowing_in(call), detail, advice)
        self.write(call, as_names(union))

    def refuse(self, call: Call, names: Sequence[Tensor], detail: str, advice: str = "") -> int:
        """Mark every filter in some sets: who reads it cannot be known; a set of all their layers (`SetTable.fold`)."""
        reason = f"{call.place}: {detail}"
        self.refusals += 1
        self.stops[reason + advice] = None
        together = self.table.union(name for each in names for name in different(each))
        # What is left of filters flows on where nobody follows: the layers are flagged at once (`heard`).
        self.lost |= self.table.offsets(together)
        union = self.table.fold(together, f"what {call.place} gives")
        for layer in self.table.layers_of((union,)):
            self.refused.setdefault(layer, reason)
        return union

    def _flowing_in(self, call: Call) -> list[Tensor]:
        found: list[Tensor] = []
        for notes in self.notes_on(call):
            if notes.present is not None:
                found.append(notes.present)
            if notes.behind:
                found.append(as_names(sorted(notes.behind)))
        return found


def tensors_in(values: object) -> list[Tensor]:
    """The tensors in nested lists and tuples of arguments."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        return []
    return [tensor for value in values for tensor in tensors_in(value)]


def names_in(call: Call, record: Record) -> tuple[Tensor, Tensor]:
    """The names behind an operation's first tensor, and that tensor."""
    x = call.tensors[0]
    names = record.ledger.names(x)
    return (torch.zeros(x.shape, dtype=NAMES, device="cpu") if names is None else names), x
