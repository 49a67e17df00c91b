"""What a ledger knows of one storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

Place = tuple[tuple[int, ...], tuple[int, ...], int]
"""Size, stride and offset."""


@dataclass(frozen=True)
class Derivation:
    """What a tensor was worked out from, filter by filter."""

    # Name of the parameter; None where there are only parameters with one number a filter, or fewer.
    parameter: str | None
    filters: Tensor  # for each element the filter that it depends on, -1 = none
    stands: Tensor  # and the parameter's entry in whose place it stands, -1 = none
    standardised: bool = False  # each filter was divided by its own spread on the way

    def viewed(self, by: Callable[[Tensor], Tensor]) -> Derivation:
        """The same with both tensors looked at in another way."""
        return replace(self, filters=by(self.filters), stands=by(self.stands))


@dataclass
class Notes:
    """What is known of one storage."""

    # Keeps the storage's address from being used again while these notes exist.
    memory: StorageWeakRef
    itemsize: int  # bytes an element, of the tensor that was noted first
    length: int  # number of elements of the storage
    # For each element the name of its set (see `SetTable`); None = all empty, or not laid out from `row`.
    names: Tensor | None = None
    # The same, where all elements were named at once: the place that was named, and its names with size 1 along
    # each axis on which they do not change. Of a map of a million elements it is a row of channels.
    row: tuple[Place, Tensor] | None = None
    # Names of the sets that flowed into tensors here that have no element to hold them.
    behind: set[int] = field(default_factory=set[int])
    # For each element the number of the model's tensor entry that it copies, -1 = none; None = no entry.
    origins: Tensor | None = None
    # The model's tensors that this storage holds, themselves or as copies: where each lies in it.
    whole: dict[str, Place] = field(default_factory=dict[str, "Place"])
    live: bool = False  # depends on the example inputs
    computed: bool = False  # worked out from the model's weights alone
    # Worked out from tensors of the model, buffers included: other numbers may be there later.
    own: bool = False
    computed_by: str = ""  # the operation that did it, and where
    # Random numbers, or worked out from them: chance says nothing that a reader could learn.
    drawn: bool = False
    # The parameter that it was worked out from filter by filter, where that is so; its tensors are of the storage.
    derived: Derivation | None = None
    # One set for every element, where the storage is looked at as several types of number; None elsewhere.
    blurred: int | None = None

    @property
    def present(self) -> Tensor | None:
        """The names that are there, each at least once; None where none was noted."""
        return self.names if self.row is None else self.row[1]

    def laid_out(self) -> Tensor | None:
        """`names`, one an element; None where none was noted."""
        if self.names is None and self.row is not None:
            place, small = self.row
            self.names = small.new_zeros(self.length)
            self.names.as_strided(*place).copy_(small)
        return self.names
