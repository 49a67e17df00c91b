"""Operations that multiply activations by a weight: they read sets on their inputs and write fresh ones.

Called by `graph/twin.py` at each convolution and matrix product; what they read and write goes to the `Record`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from regrow.graph import foreign
from regrow.graph.filters import LayerKind
from regrow.graph.meetings import Reason
from regrow.graph.record import Call, LayerRecord, Record
from regrow.graph.sets import as_names, different
from regrow.graph.weights import WeightUse, own_name, path_of, weight_use, why_no_weight
from regrow.graph.windows import at, join_windows, kernel_positions

CONVOLUTIONS: Final = frozenset({"convolution"})
PRODUCTS: Final = {
    "mm": ("self", "mat2", None),
    "addmm": ("mat1", "mat2", "self"),
    "bmm": ("self", "mat2", None),
    "baddbmm": ("batch1", "batch2", "self"),
    "mv": ("self", "vec", None),
    "addmv": ("mat", "vec", "self"),
    "dot": ("self", "tensor", None),
}
"""Matrix products: the names of the two factors, and of what is added."""


def follow_convolution(call: Call, record: Record) -> None:
    """Record a convolution, transposed or not, grouped or not, in any number of dimensions."""
    x, weight = call.tensor("input"), call.tensor("weight")
    if x is None or weight is None:
        return
    transposed = bool(call.arguments["transposed"])
    groups = call.number("groups")
    use = weight_use(record, weight, filter_axis=0, input_axis=1)
    if use is None and _is_constant(record, weight):
        _follow_fixed_kernel(call, record, x, weight, groups=groups, transposed=transposed)
        return
    # No weight, or a matrix as a transposed kernel, its outputs in front.
    if use is None or (transposed and use.columns):
        _stop_at_weight(call, record, weight)
        return
    # Which group a slice's filters are of, and which channels they read, cannot be told from the slice.
    if (transposed or groups > 1) and not use.whole:
        record.stop(call, "a part of a grouped or transposed weight is used")
        return
    kind: LayerKind = "conv_transpose" if transposed else _kind(record, use)
    seen = _seen(call, record, x, 1)
    layer = _use_layer(call, record, use, kind=kind, groups=groups, bias=call.tensor("bias"))
    if layer is None:
        return
    # All of the input's channels of a grouped convolution; a weight has those of one group.
    _read(layer, seen, torch.arange(x.shape[1], device="cpu") if use.whole else use.inputs)
    out = call.outputs[0]
    record.ledger.write(out, _made(layer, use).reshape(1, -1, *(1,) * (out.ndim - 2)))


def follow_product(call: Call, record: Record) -> None:
    """Record a matrix product: a linear layer where one factor is a weight, a mixing where both are activations."""
    first_name, second_name, added_name = PRODUCTS[call.op]
    first, second = call.tensor(first_name), call.tensor(second_name)
    added = call.tensor(added_name) if added_name else None
    if first is None or second is None:
        return
    if first.ndim >= 2 and second.ndim >= 2:
        # x @ W.t(), as nn.Linear has it, x @ W and W @ x
        # Whichever factor is the weight: attention by hand multiplies from the left as often as from the right.
        for x, weight, axis, other in ((first, second, -1, -2), (second, first, -2, -1)):
            filter_axis, input_axis = weight.ndim + axis, weight.ndim + other
            use = weight_use(record, weight, filter_axis=filter_axis, input_axis=input_axis)
            if use is not None and record.ledger.is_live(x):
                _follow_linear(call, record, x, use, axis=axis, added=added)
                return
    _follow_mixing_product(call, record, first, second, added)


def _follow_linear(
    call: Call, record: Record, x: Tensor, use: WeightUse, *, axis: int, added: Tensor | None
) -> None:
    """`axis`: where the channels are, in what comes in and in what comes out."""
    layer = _use_layer(call, record, use, kind=_kind(record, use), groups=1, bias=added)
    if layer is None:
        return
    _read(layer, _seen(call, record, x, axis), use.inputs)
    out = call.outputs[0]
    shape = [1] * out.ndim
    shape[axis] = -1
    written = _made(layer, use).reshape(shape)
    more = record.ledger.names(added)
    if more is None and added is not None and (own := foreign.added(record, added, written)):
        more = as_names(own)
    if more is not None:  # an activation that is added, as baddbmm can, or a table of numbers
        written = record.table.join(written.expand(out.shape), more, Reason("summed", call.place))
    record.ledger.write(out, written)


def _follow_mixing_product(
    call: Call, record: Record, first: Tensor, second: Tensor, added: Tensor | None
) -> None:
    """A product of two activations, or with a constant: every output depends on a whole row and a whole column."""
    for factor, other in ((first, second), (second, first)):
        live = record.ledger.is_live(other) and not record.ledger.is_live(factor)
        if live and not _is_constant(record, factor):
            _stop_at_weight(call, record, factor)
            return
    why = Reason("mixed", call.place)

    def united(factor: Tensor, axis: int) -> Tensor | None:
        names = record.ledger.names(factor)
        if names is None:
            return None
        part = record.table.join_over(names, [axis], why)
        # Matrix times vector: the united axis is not in the output.
        return part.squeeze(axis) if second.ndim == 1 else part

    factors = ((first, -1), (second, -2 if second.ndim > 1 else -1))
    product = record.table.join_all((united(*each) for each in factors), why)
    terms = (product, record.ledger.names(added))
    summed = record.table.join_all(terms, Reason("summed", call.place))
    record.ledger.write(call.outputs[0], summed)


def _follow_fixed_kernel(
    call: Call, record: Record, x: Tensor, weight: Tensor, *, groups: int, transposed: bool
) -> None:
    """A convolution with constant numbers (a blur, say): channels stay apart as far as its groups keep them apart."""
    names = record.ledger.names(x)
    out = call.outputs[0]
    if names is None:
        return
    why = Reason("mixed", f"{call.place} with a fixed kernel")
    by_group = names.reshape(x.shape[0], groups, -1, *x.shape[2:])
    united = record.table.join_over(by_group, [2], why).squeeze(2)
    if transposed:
        space = range(2, united.ndim)
        united = record.table.join_over(united, space, why)
        united = united.expand(*united.shape[:2], *out.shape[2:])
    else:
        positions = [
            kernel_positions(
                size=x.shape[axis + 2],
                count=out.shape[axis + 2],
                kernel=weight.shape[axis + 2],
                stride=at(call.arguments["stride"], axis),
                padding=at(call.arguments["padding"], axis),
                dilation=at(call.arguments["dilation"], axis),
            )
            for axis in range(x.ndim - 2)
        ]
        united = join_windows(record.table, united, positions, why)
    record.ledger.write(out, united.repeat_interleave(out.shape[1] // groups, dim=1))


def _use_layer(
    call: Call,
    record: Record,
    use: WeightUse,
    *,
    kind: LayerKind,
    groups: int,
    bias: Tensor | None,
) -> LayerRecord | None:
    """The layer's record; None, after a refusal, where its weight was used in another layout before."""
    layer = record.layer(use.name, kind=kind, groups=groups, columns=use.columns)
    if layer is None:
        record.stop(call, f"it uses {use.name} in another layout than an operation before it")
        return None
    # In order and with repetitions: who follows the trace sees by its length that a call has read something.
    record.used.append(use.name)
    record.claim(use.name, owner=path_of(use.name), path=call.path)
    layer.standardised = layer.standardised or use.standardised
    if bias is not None and not record.ledger.is_live(bias):
        _use_bias(call, record, layer, use, bias)
    return layer


def _use_bias(call: Call, record: Record, layer: LayerRecord, use: WeightUse, bias: Tensor) -> None:
    """A bias is the filters' own where it is a parameter with one number for each, in their order."""
    named = own_name(record, bias)
    count = len(layer.names)
    filters = torch.arange(count, device="cpu") if use.whole else use.filters
    if (
        named is not None
        and named[0] in record.parameters
        and record.ledger.tensors[named[0]].numel() == count
        and torch.equal(named[1], filters)
    ):
        layer.biases[named[0]] = None
        record.claim(named[0], owner=path_of(layer.weight), path=call.path)
    elif what := foreign.label_of(record, bias, buffers=True):
        layer.biased[what] = None


def follow_late_bias(call: Call, record: Record) -> None:
    """Note a layer's own bias that is added behind the product: so torch does where inputs are not contiguous."""
    for value, other in (
        (call.tensor("self"), call.tensor("other")),
        (call.tensor("other"), call.tensor("self")),
    ):
        name = None if value is None else record.ledger.whole(value.squeeze())
        names = record.ledger.names(other)
        if name is None or name not in record.late_biases or names is None:
            continue
        layers = record.table.layers_of(different(names))
        weights = {record.layers[number].weight for number in layers}
        # Its own module's weight, and no other filters in the sum: any other vector that is added is a shift by hand.
        if len(weights) == 1 and weights <= record.late_biases[name]:
            (number,) = layers
            record.layers[number].biases[name] = None
            record.claim(name, owner=path_of(record.layers[number].weight), path=call.path)


def _kind(record: Record, use: WeightUse) -> LayerKind:
    return "linear" if record.ledger.tensors[use.name].ndim == 2 else "conv"


def _made(layer: LayerRecord, use: WeightUse) -> Tensor:
    """The sets of the filters that an operation gives, in its order."""
    return layer.names if use.whole else layer.names[use.filters]


def _seen(call: Call, record: Record, x: Tensor, axis: int) -> list[int]:
    """The sets on each channel, over examples and positions."""
    names = record.ledger.names(x)
    if names is None:
        return [0] * x.shape[axis]
    return record.table.along(names, axis, call.place).tolist()


def _read(layer: LayerRecord, seen: Sequence[int], inputs: Tensor) -> None:
    for name, channel in zip(seen, inputs.tolist(), strict=True):
        if name:
            layer.reads[channel].add(name)


def _stop_at_weight(call: Call, record: Record, weight: Tensor) -> None:
    """What multiplies is no parameter: the layer has no filters that could be renewed."""
    alone = (
        f"'{call.path}' is left alone, as by exclude=['{call.path}']"
        if call.path
        else "its filters are left alone"
    )
    record.stop(
        call,
        why_no_weight(record, weight),
        advice=f"; {alone}; exclude the layers before it too, or give a wiring=... that you completed yourself",
    )


def begin_from_zeros(call: Call, record: Record) -> bool:
    """Take zeros for an activation where a weight multiplies them: a state that a recurrent layer begins with."""
    if call.op in CONVOLUTIONS:
        factors = ("input",)
    elif call.op in PRODUCTS:
        factors = PRODUCTS[call.op][:2]
    else:
        return False
    for name in factors:
        factor = call.tensor(name)
        if factor is None or not _is_constant(record, factor) or record.ledger.owners(factor):
            continue
        # Zeros only: what comes out of a weight and a matrix of ones is a computed weight.
        if factor.numel() and not bool(factor.any()):
            record.ledger.mark([factor], live=True)
            return True
    return False


def _is_constant(record: Record, tensor: Tensor) -> bool:
    """Neither depends on the inputs nor on a parameter: a buffer, or made on the way from constants."""
    if tensor.requires_grad or isinstance(tensor, torch.nn.Parameter):
        return False
    notes = record.ledger.find(tensor)
    return notes is None or not (notes.live or notes.computed or record.has_parameter(tensor))
