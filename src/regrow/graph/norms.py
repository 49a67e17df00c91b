"""Normalisation layers: whose entries are whose, and which of them mix their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from torch import Tensor

from regrow.graph.filters import NORM_TENSORS
from regrow.graph.meetings import Reason
from regrow.graph.record import Call, NormRecord, Record, names_in
from regrow.graph.sets import renamed, squeezed
from regrow.graph.weights import own_name, path_of

CHANNEL_NORMS: Final = (
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("_batch_norm_no_update", "_batch_norm_with_update", "cudnn_batch_norm", "miopen_batch_norm"),
    *("batch_norm_elemt", "native_group_norm"),
)

LAST_AXES_NORMS: Final = ("native_layer_norm", "_fused_rms_norm")


def channel_norm(call: Call, record: Record) -> None:
    """Batch, group and instance normalisation: a channel stays itself, and the norm's entries are its own."""
    x = call.tensor("input")
    if x is None:
        return
    names = record.ledger.names(x)
    if names is None:
        record.ledger.write(call.outputs[0], None)
        return
    grouped = call.op == "native_group_norm" and call.number("group") < x.shape[1]
    record.ledger.write(call.outputs[0], _left(call, record, names, grouped=grouped))
    seen = record.table.along(names, 1, call.place)
    kind = "group_norm" if call.op == "native_group_norm" else "batch_norm"
    _note_norm(call, record, kind, seen)
    if grouped:
        for group in seen.reshape(call.number("group"), -1).tolist():
            if len(set(group)) > 1:
                for layer in record.table.layers_of(group):
                    text = f"shares its group's statistics in {call.place}"
                    record.statistics.setdefault(layer, {})[text] = None


def _left(call: Call, record: Record, names: Tensor, *, grouped: bool) -> Tensor:
    """What is left of filters that give 0: nothing behind entries of their own, which are 0 with them."""
    # Statistics over a group of several channels, or a scale and a shift that are not the model's own, leave something.
    own = {
        each: own_name(record, tensor) is not None
        for each in ("weight", "bias", "running_mean")
        if (tensor := call.tensor(each)) is not None
    }
    if "weight" in own or "bias" in own:
        clean = own.get("weight", False) and own.get("bias", True)
        # The norm's scale and shift are 0 with the filters, so nothing is left of all of them; what is left of some of
        # them stays, since the entries then stay too.
        rename = record.table.without_own_offsets
    else:
        clean = not grouped and own.get("running_mean", True)
        # The name as it is: without entries, and with statistics of its own channel, 0 stays 0.
        rename = int

    def left(name: int) -> int:
        if not name:
            return name
        return rename(name) if clean else record.table.with_offset(name, call.place)

    return renamed(squeezed(names, names.ndim), left).expand(names.shape)


def last_axes_norm(call: Call, record: Record) -> None:
    """Layer and root-mean-square normalisation: along the normalised axes every output depends on every input."""
    names, _ = names_in(call, record)
    count = len(cast("Sequence[int]", call.arguments["normalized_shape"]))
    if count == 1:
        _note_norm(call, record, "layer_norm", record.table.along(names, -1, call.place))
    axes = range(names.ndim - count, names.ndim)
    record.write(call, record.table.join_over(names, axes, Reason("mixed", call.place)))


def _note_norm(call: Call, record: Record, kind: str, seen: Tensor) -> None:
    """Remember which sets each entry of a norm's own tensors met."""
    tensors: dict[str, str] = {}
    entries: Tensor | None = None
    for argument in NORM_TENSORS:
        found = own_name(record, call.tensor(argument))
        if found is not None:
            tensors[argument], entries = found
    if entries is None:
        return
    path = _path(call, record, tensors)
    for name in tensors.values():
        record.claim(name, owner=path, path=call.path)
    size = max(record.ledger.tensors[name].numel() for name in tensors.values())
    if kind == "batch_norm" and len(entries) > size:
        kind = "instance_norm"  # torch repeats its entries for every example and calls batch normalisation
    norm = record.norms.setdefault(path, NormRecord(kind, tensors, [set() for _ in range(size)]))
    for entry, name in zip(entries.tolist(), seen.tolist(), strict=True):
        norm.seen[entry].add(name)


def _path(call: Call, record: Record, tensors: Mapping[str, str]) -> str:
    """Where a norm is at home: of those that share some of their tensors each has a path of its own."""
    paths = [path_of(name) for name in tensors.values()]
    options = [*([call.path] if call.path in paths else []), *paths, *tensors.values()]
    for path in options:
        known = record.norms.get(path)
        if known is None or known.tensors == tensors:
            return path
    return options[0]
