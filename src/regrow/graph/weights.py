"""Which parameter an operation's weight argument is, and along which axes its filters and inputs lie.

Called by `graph/layers.py` and `graph/norms.py` with what an operation takes for its weight or its bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from regrow.graph.record import Record


@dataclass(frozen=True)
class WeightUse:
    """A parameter in the place of a weight."""

    name: str  # its parameter name
    filters: Tensor  # for each output of the operation the filter that makes it
    # For each input of the operation (within a group) the parameter's input channel that reads it.
    inputs: Tensor
    whole: bool  # filters and inputs are all there, in order
    # Not the parameter itself, but what was worked out from it filter by filter.
    standardised: bool = False
    # The parameter is a matrix whose columns are the filters, and whose rows the inputs.
    columns: bool = False


COMPUTED: Final = "its weight is computed, not one of the model's parameters"
COMPUTED_BY: Final = "its weight is computed by {}, not one of the model's parameters"
MIXED_ORIGIN: Final = (
    "its weight is put together from several tensors, or its axes are not (filters, inputs)"
)


def weight_use(
    record: Record, tensor: Tensor, *, filter_axis: int, input_axis: int
) -> WeightUse | None:
    """Recognise a weight, however it was viewed or copied; None where it is no parameter, or has other axes."""
    # A parameter of shape (O, I, ...), and a matrix (I, O), is recognised through transpositions, slices, views that
    # keep its axes apart (a 1x1 kernel as a matrix, say), copies, changes of precision and weight standardisation.
    ledger = record.ledger
    standard = (filter_axis, input_axis) == (0, 1)
    # The way of nearly all layers: no number an entry is made, which for a large weight would take longer than its
    # product.
    for columns in (False, True) if tensor.ndim == 2 else (False,) if standard else ():
        # `nn.Linear` calls ``mm`` with ``W.t()``: turned back, it is the parameter as it is.
        name = ledger.whole(tensor if standard != columns else tensor.t())
        if name is not None and name in record.parameters and tensor.ndim >= 2:
            first, second = (
                torch.arange(size, device="cpu") for size in ledger.tensors[name].shape[:2]
            )
            filters, inputs = (second, first) if columns else (first, second)
            return WeightUse(name, filters, inputs, whole=True, columns=columns)
    derived = _standardised(record, tensor)
    found = derived or ledger.entries(tensor)
    if found is None:
        return None
    name, index = found
    own = ledger.tensors[name]
    if name not in record.parameters or own.ndim < 2:
        return None
    per_filter = own[0].numel()
    per_input = per_filter // own.shape[1]
    # Entries are counted row by row in the parameter, whatever has become of their order: filter and input channel can
    # be read off the count, and must be constant along all other axes.
    first, second = index // per_filter, index % per_filter // per_input
    filters, inputs = _line(first, filter_axis), _line(second, input_axis)
    columns = False
    if (filters is None or inputs is None) and own.ndim == 2 and derived is None:
        filters, inputs = _line(second, filter_axis), _line(first, input_axis)
        columns = True
    if filters is None or inputs is None:
        return None
    sizes = own.shape[1::-1] if columns else own.shape[:2]
    whole = (
        tensor.numel() == own.numel()
        and torch.equal(filters, torch.arange(sizes[0], device="cpu"))
        and torch.equal(inputs, torch.arange(sizes[1], device="cpu"))
    )
    return WeightUse(name, filters, inputs, whole, derived is not None, columns)


def why_no_weight(record: Record, tensor: Tensor) -> str:
    """What a tensor is that stands in a weight's place and is none, for messages."""
    if record.ledger.owners(tensor):
        return MIXED_ORIGIN
    notes = record.ledger.find(tensor)
    return COMPUTED_BY.format(notes.computed_by) if notes and notes.computed_by else COMPUTED


def _standardised(record: Record, tensor: Tensor) -> tuple[str, Tensor] | None:
    """The parameter behind a standardised weight, and the entries in whose places its elements lie."""
    derived = record.ledger.derived(tensor)
    if derived is None or derived.parameter is None:
        return None
    stands = derived.stands
    # An element in no entry's place, as a mean is, has no counterpart in the parameter.
    if not derived.standardised or bool((stands < 0).any()):
        return None
    per_filter = record.ledger.tensors[derived.parameter][0].numel()
    alike = torch.equal(stands // per_filter, derived.filters)
    return (derived.parameter, stands) if alike else None


def own_name(record: Record, tensor: Tensor | None) -> tuple[str, Tensor] | None:
    """The parameter or buffer that a bias or a norm's tensor is, and each element's index there; None: it is none."""
    return None if tensor is None or tensor.ndim != 1 else record.ledger.entries(tensor)


def path_of(tensor_name: str) -> str:
    """The path of the module that holds a parameter or buffer."""
    # A tensor that is not called as torch's layers call theirs goes by its full name: a module may hold several.
    owner, _, last = tensor_name.rpartition(".")
    return (
        owner
        if owner and last in {"weight", "bias", "running_mean", "running_var"}
        else tensor_name
    )


def _line(index: Tensor, axis: int) -> Tensor | None:
    """The values along one axis, if they are the same wherever one stands on the others."""
    moved = index.movedim(axis, 0).flatten(1)
    first = moved[:, :1]
    return first[:, 0] if torch.equal(first.expand_as(moved), moved) else None
