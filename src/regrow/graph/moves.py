"""Operations that only move elements: they are applied to the notes themselves.

Called by `graph/twin.py`, for activations and for copies of weights.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from regrow.graph.calling import map_tensors
from regrow.graph.foreign import moved
from regrow.graph.ledger import Ledger
from regrow.graph.meetings import Reason
from regrow.graph.record import Call, Record, Run, tensors_in
from regrow.graph.rules import COPIES
from regrow.graph.sets import NAMES, as_names, different

_EXACT: Final = frozenset(
    {
        *("cat", "stack", "index_select", "index", "_unsafe_index", "gather", "take", "roll"),
        *("flip", "rot90", "constant_pad_nd", "pixel_shuffle", "pixel_unshuffle"),
        *("channel_shuffle", "native_channel_shuffle", "repeat", "repeat_interleave", "tril"),
        *("triu", "diag_embed", "narrow_copy", "unfold_copy", "slice_scatter", "select_scatter"),
        *("diagonal_scatter", "index_put", "_index_put_impl", "index_copy", "scatter"),
    }
)
_BY_PREFIX: Final = (
    *("reflection_pad", "replication_pad", "im2col", "upsample_nearest", "_upsample_nearest_exact"),
)
"""Moves whose kernels take floating-point numbers only; a double holds every name exactly."""

_INDEX_ARGUMENTS: Final = frozenset({"index", "indices", "repeats"})


def is_move(op: str) -> bool:
    """Whether an operation's output elements are elements of its inputs, or constants."""
    return op in _EXACT or op.startswith(_BY_PREFIX)


def keeps_entries(op: str) -> bool:
    """Whether a move or a copy leaves the entries of the model's tensors recognisable (see `follow_origins`)."""
    return not op.startswith(_BY_PREFIX)


def follow_move(call: Call, record: Record, run: Run) -> bool:
    """Move the names as the operation moved the values; False where it adds, and cannot be followed."""
    # Names cannot be added: 3 + 4 would be the set of name 7, whoever that is.
    if call.arguments.get("accumulate") or call.arguments.get("reduce") is not None:
        return False
    ledger = record.ledger
    as_double = call.op.startswith(_BY_PREFIX)
    steering: list[Tensor] = []

    def names_instead(argument: str, value: object) -> object:
        if argument in _INDEX_ARGUMENTS:
            given = map(ledger.names, tensors_in(value))
            steering.extend(names for names in given if names is not None)
            return map_tensors(value, Tensor.cpu)
        if argument == "value" and not isinstance(value, Tensor):
            return 0  # what padding puts there depends on nothing
        # Written into the notes themselves, as the operation has written into the values.
        if call.in_place and argument == "self" and isinstance(value, Tensor):
            return ledger.names_for_writing(value)
        # A Swin block's shift (`roll`) is done to the names like this: no window needs a rule of its own.
        return map_tensors(value, lambda tensor: _names_of(record, tensor, as_double=as_double))

    made = tensors_in(run(names_instead))
    if not call.in_place:
        for out, names in zip(call.outputs, made, strict=True):
            ledger.write(out, names)
    if steering:
        # Where the index itself depends on filters, they decide which elements come out: every output depends on all of
        # them.
        why = Reason("mixed", call.place)
        chosen = record.table.union((name for each in steering for name in different(each)), why)
        for out in call.outputs:
            old = ledger.names_for_writing(out)
            ledger.write(out, record.table.join(old, as_names(chosen), why))
    return True


def follow_origins(call: Call, record: Record, run: Run) -> None:
    """Remember where copies of the model's own tensors came from, so that they are recognised as weights."""
    ledger = record.ledger
    # What was written over has forgotten where it came from (`Ledger.overwritten`).
    if call.in_place:
        return
    if call.op in COPIES:
        source = call.tensor("self")
        if source is not None:
            ledger.write_copy(call.outputs[0], source)
        return

    def origins_instead(argument: str, value: object) -> object:
        if argument in _INDEX_ARGUMENTS:
            return map_tensors(value, Tensor.cpu)
        if argument == "value" and not isinstance(value, Tensor):
            # Padding is no entry of a weight. 0 would be the first entry of the first one.
            return -1
        return map_tensors(value, lambda tensor: _origins_or_none(ledger, tensor))

    if keeps_entries(call.op):
        for out, origins in zip(call.outputs, tensors_in(run(origins_instead)), strict=True):
            ledger.write_origins(out, origins)


def _names_of(record: Record, tensor: Tensor, *, as_double: bool) -> Tensor:
    names = record.ledger.names(tensor)
    if names is None:
        # A class token in front of the patches is nobody's filter, and no constant either: it is trained.
        names = torch.full(tensor.shape, moved(record, tensor), dtype=NAMES, device="cpu")
    return names.to(torch.float64) if as_double else names


def _origins_or_none(ledger: Ledger, tensor: Tensor) -> Tensor:
    origins = ledger.origins(tensor)
    if origins is not None:
        return origins
    return torch.full(tensor.shape, -1, dtype=torch.int64, device="cpu")
