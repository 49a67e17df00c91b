"""Weights that are standardised before they are used: each filter's numbers are worked out from that filter's alone.

Called by `graph/twin.py` for what is worked out of weights alone; `graph/weights.py` asks for it when a layer
multiplies by it.

A convolution with weight standardisation does not multiply by its parameter but by ``(w - mean) / std``, the mean and
deviation taken over one filter. What is multiplied is new memory, so its origin is lost; but it still belongs to the
parameter filter by filter, and its inputs lie where the parameter's lie. Such a tensor is accompanied by two more, of
numbers: the filter that each element depends on, and the parameter's entry in whose place it stands.

A weight that is only scaled, masked or put together is no standardised weight, and is not followed: what a new filter
should look like there cannot be told from its parameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

import torch
from torch import Tensor

from regrow.graph.notes import Derivation
from regrow.graph.record import Call, Record
from regrow.graph.rules import COPIES, is_pointwise

_NONE: Final = -1
"""Depends on no filter, or stands in no entry's place."""

_SEVERAL: Final = -2
"""Depends on several filters."""

_CHANNEL_NORMS: Final = (
    *("native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update"),
    *("cudnn_batch_norm", "miopen_batch_norm"),
)
_SPREADS: Final = frozenset({"var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm"})
_SUMMARIES: Final = _SPREADS | {"mean", "sum", "amax", "amin"}


def follow_standardised(call: Call, record: Record, tags: Sequence[torch.Tag]) -> bool:
    """Follow an operation on weights alone; False where it does not keep filters apart, or is not known."""
    if call.in_place or not call.outputs:
        return False
    if call.op in COPIES or is_pointwise(call.op, tags):
        made = _pointwise(call, record)
    elif call.op in _CHANNEL_NORMS:
        made = _channel_norm(call, record)
    elif call.op in _SUMMARIES:
        made = _summary(call, record)
    else:
        return False
    # An element of several filters (a mean over the whole weight) ends it: renewed alone, a filter would change others.
    if made is None or bool((made.filters == _SEVERAL).any()):
        return False
    # A norm's other outputs are statistics, which stand in no entry's place.
    for out in call.outputs[: 1 if call.op in _CHANNEL_NORMS else None]:
        record.ledger.write_derived(out, made.viewed(lambda each, out=out: each.reshape(out.shape)))
    return True


def _pointwise(call: Call, record: Record) -> Derivation | None:
    """Element by element; numbers and constants are neutral."""
    made: Derivation | None = None
    for value in call.tensors:
        part = _part(call, record, value)
        made = part if made is None or part is None else _joined(made, part)
        if made is None:
            return None
    shape = call.outputs[0].shape
    return None if made is None else made.viewed(lambda each: each.expand(shape))


def _channel_norm(call: Call, record: Record) -> Derivation | None:
    """Batch normalisation by the tensor's own statistics: a channel depends on all of itself."""
    x = call.tensor("input")
    # With running statistics the numbers depend on weights of steps before, and not on these alone.
    if (
        x is None
        or call.arguments.get("training") is False
        or call.tensor("running_var") is not None
    ):
        return None
    part = _part(call, record, x)
    if part is None:
        return None
    over = [axis for axis in range(x.ndim) if axis != 1]
    made = replace(part, filters=_together(part.filters, over).expand(x.shape), standardised=True)
    by_channel = (1, -1, *(1,) * (x.ndim - 2))
    for name in ("weight", "bias"):
        each = call.tensor(name)
        entry = None if each is None else _part(call, record, each)
        if entry is not None and made is not None:
            made = _joined(made, entry.viewed(lambda each: each.reshape(by_channel)))
        elif each is not None:
            return None
    return made


def _summary(call: Call, record: Record) -> Derivation | None:
    """A mean or a deviation stands in no entry's place."""
    x = call.tensors[0]
    part = _part(call, record, x)
    if part is None:
        return None
    given = cast("int | Sequence[int] | None", call.arguments.get("dim"))
    dims = [given] if isinstance(given, int) else list(given or range(x.ndim))
    filters = _together(part.filters, [dim % x.ndim for dim in dims])
    # To have been divided by one's own spread is what makes a weight a standardised one. Without it a masked or a
    # scaled weight would pass for one, and a fresh filter would get numbers that the mask or the scale changes.
    spread = part.standardised or call.op in _SPREADS
    return Derivation(part.parameter, filters, torch.full_like(filters, _NONE), spread)


def _part(call: Call, record: Record, tensor: Tensor) -> Derivation | None:
    """What is known of an operand; None where that is not enough."""
    ledger = record.ledger
    derived = ledger.derived(tensor)
    if derived is not None:
        return derived
    notes = ledger.find(tensor)
    # What could not be followed once is not taken up again further on.
    if notes is not None and (notes.live or notes.computed):
        return None
    nothing = torch.full((1,) * tensor.ndim, _NONE, dtype=torch.int64, device="cpu")
    if not record.has_parameter(tensor):
        return Derivation(None, nothing, nothing)
    found = ledger.entries(tensor)
    if found is None:
        return None
    name, index = found
    own = ledger.tensors[name]
    # The gain of a standardised weight is not the filter's own weight. It has another user now, so that nobody takes it
    # for the scale of a norm.
    if own.ndim < 2 or own.numel() == own.shape[0]:  # one number a filter, such as a gain
        record.note_other_uses(call, [tensor])
        return Derivation(None, nothing, nothing)
    return Derivation(name, index // own[0].numel(), index)


def _joined(a: Derivation, b: Derivation) -> Derivation | None:
    if a.parameter is not None and b.parameter is not None and a.parameter != b.parameter:
        return None
    return Derivation(
        a.parameter or b.parameter,
        _either(a.filters, b.filters, _SEVERAL),
        _either(a.stands, b.stands, _NONE),
        a.standardised or b.standardised,
    )


def _either(a: Tensor, b: Tensor, otherwise: int) -> Tensor:
    return torch.where(
        a == _NONE, b, torch.where((b == _NONE) | (a == b), a, torch.full_like(a, otherwise))
    )


def _together(filters: Tensor, dims: Sequence[int]) -> Tensor:
    """The one filter along some axes, which stay with size 1."""
    over = tuple(dims)
    if not over or filters.numel() == 0:
        return filters
    # The same filter everywhere, or several. No filter (-1) next to one counts as several too: that is rare, and safe.
    highest = filters.amax(over, keepdim=True)
    lowest = filters.amin(over, keepdim=True)
    return torch.where(highest == lowest, highest, torch.full_like(highest, _SEVERAL))
