"""What a ledger knows of one storage."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

Place = tuple[tuple[int, ...], tuple[int, ...], int]
"""Size, stride and offset."""


@dataclass(frozen=True)
class Derivation:
    """What a tensor was worked out from, filter by filter.

    Attributes:
        parameter: Name of the parameter; None where there are only parameters with one number a filter, or fewer.
        standardised: Each filter was divided by its own spread on the way.
    """

    parameter: str | None
    standardised: bool


@dataclass
class Notes:
    """What is known of one storage.

    Attributes:
        memory: Keeps the storage's address from being used again while these notes exist.
        itemsize: Bytes an element, of the tensor that was noted first.
        length: Number of elements of the storage.
        names: For each element the name of its set (see `SetTable`); None = all empty, or not laid out from `row`.
        row: The same, where all elements were named at once: the place that was named, and its names with size 1 along
            each axis on which they do not change. Of a map of a million elements it is a row of channels.
        origins: For each element the number of the model's tensor entry that it copies, -1 = none; None = no entry.
        whole: The model's tensors that this storage holds, themselves or as copies: where each lies in it.
        live: Depends on the example inputs.
        computed: Worked out from the model's weights alone.
        own: Worked out from tensors of the model, buffers included: other numbers may be there later.
        computed_by: The operation that did it, and where.
        drawn: Random numbers, or worked out from them: chance says nothing that a reader could learn.
        derived: The parameter that it was worked out from filter by filter, where that is so.
        by_filter: Then for each element the filter that it depends on, -1 = none.
        stands: And the parameter's entry in whose place it stands, -1 = none.
        behind: Names of the sets that flowed into tensors here that have no element to hold them.
        blurred: One set for every element, where the storage is looked at as several types of number; None elsewhere.
    """

    memory: StorageWeakRef
    itemsize: int
    length: int
    names: Tensor | None = None
    row: tuple[Place, Tensor] | None = None
    behind: set[int] = field(default_factory=set[int])
    origins: Tensor | None = None
    whole: dict[str, Place] = field(default_factory=dict[str, "Place"])
    live: bool = False
    computed: bool = False
    own: bool = False
    computed_by: str = ""
    drawn: bool = False
    derived: Derivation | None = None
    by_filter: Tensor | None = None
    stands: Tensor | None = None
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
