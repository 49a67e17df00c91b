"""How the sets flow through the operations that hold no weights: moves, pointwise, reductions, windows, attention, norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import torch
from torch import Tensor

from regrow.graph.layers import at, refuse
from regrow.graph.record import Call, NormRecord, Record
from regrow.graph.sets import NAMES, Why
from regrow.graph.weights import own_name, path_of
from regrow.graph.windows import adaptive_positions, join_windows, kernel_positions

Rule = Callable[[Call, Record], None]

COPIES: Final = frozenset({"clone", "_to_copy", "lift_fresh_copy", "_conj_physical", "_pin_memory"})
"""New memory, same shape, same values."""

FILLS: Final = frozenset(
    {
        "zero",
        "fill",
        "bernoulli",
        "normal",
        "uniform",
        "random",
        "exponential",
        "log_normal",
        "geometric",
        "cauchy",
    }
)
"""In place, these overwrite with numbers that depend on nothing."""

MADE_ANEW: Final = frozenset(
    {
        "zeros_like",
        "ones_like",
        "empty_like",
        "full_like",
        "rand_like",
        "randn_like",
        "randint_like",
    }
    | {"new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"}
)
"""Of an argument these use the shape only."""

_POINTWISE: Final = frozenset(
    {
        "hardswish",
        "_prelu_kernel",
        "rrelu_with_noise",
        "native_dropout",
        "_fused_dropout",
        "where",
        "masked_fill",
    }
)
"""Pointwise operations that some releases of torch do not tag as such."""

_SUMS: Final = frozenset({"add", "sub", "rsub", "addcmul", "addcdiv", "lerp"})
_GATES: Final = frozenset({"mul", "div"})
_WHOLE_SPACE: Final = ("upsample_", "_upsample_", "fractional_max_pool", "grid_sampler")


def is_pointwise(name: str, tags: Sequence[torch.Tag]) -> bool:
    """Whether an operation works element by element."""
    return name in _POINTWISE or torch.Tag.pointwise in tags


def pointwise(call: Call, record: Record) -> None:
    """Element by element: an output depends on what its operands depend on."""
    verb = "summed" if call.op in _SUMS else "multiplied" if call.op in _GATES else "joined"
    joined: Tensor | None = None
    for value in call.arguments.values():
        names = record.ledger.names(value) if isinstance(value, Tensor) else None
        if names is not None:
            joined = (
                names if joined is None else record.table.join(joined, names, Why(verb, call.place))
            )
    for out in call.outputs:
        record.ledger.write(out, joined)


def copy(call: Call, record: Record) -> None:
    """The same values elsewhere."""
    source = call.tensor("src") if call.op == "copy" else call.tensor("self")
    if source is not None:
        for out in call.outputs:
            record.ledger.write(out, record.ledger.names(source))


def fill(call: Call, record: Record) -> None:
    """The old values are gone."""
    value = call.tensor("value")
    names = None if value is None else record.ledger.names(value)
    for out in call.outputs:
        record.ledger.write(out, names)


def reduction(call: Call, record: Record) -> None:
    """Sums, maxima, softmax, sorting: along the named axes every output depends on every input."""
    names, x = _names(call, record)
    given = call.arguments.get("dim")
    chosen = given if isinstance(given, (list, tuple)) else [given]
    dims = [int(str(axis)) for axis in chosen if axis is not None] or list(range(x.ndim))
    joined = record.table.join_over(names, dims, Why("mixed", call.place))
    for out in call.outputs:
        if out.ndim == x.ndim:
            record.ledger.write(out, joined.expand(out.shape))
        else:
            dropped = {axis % x.ndim for axis in dims}
            kept = [size for axis, size in enumerate(joined.shape) if axis not in dropped]
            record.ledger.write(out, joined.reshape(kept))


def sliding_window(call: Call, record: Record) -> None:
    """Maximum and average pooling."""
    names, x = _names(call, record)
    axes = _space(call.op)
    out = call.outputs[0]
    kernel, given = call.arguments["kernel_size"], call.arguments.get("stride")
    positions = [
        kernel_positions(
            size=x.shape[axis - axes],
            count=out.shape[axis - axes],
            kernel=at(kernel, axis),
            stride=at(given or kernel, axis),
            padding=at(call.arguments.get("padding", 0), axis),
            dilation=at(call.arguments.get("dilation", 1), axis),
        )
        for axis in range(axes)
    ]
    _write_windows(call, record, names, positions)


def adaptive_window(call: Call, record: Record) -> None:
    """Adaptive pooling."""
    names, x = _names(call, record)
    axes = _space(call.op)
    out = call.outputs[0]
    positions = [
        adaptive_positions(size=x.shape[axis - axes], count=out.shape[axis - axes])
        for axis in range(axes)
    ]
    _write_windows(call, record, names, positions)


def whole_space(call: Call, record: Record) -> None:
    """Interpolation and random windows: each channel's outputs depend on all of its positions, to be on the safe side."""
    names, _ = _names(call, record)
    why = Why("mixed", call.place)
    joined = record.table.join_over(names, range(2, names.ndim), why)
    grid = call.tensor("grid")
    steering = None if grid is None else record.ledger.names(grid)
    if steering is not None:
        each = record.table.join_over(steering, range(1, steering.ndim), why)
        joined = record.table.join(joined, each.reshape(-1, *(1,) * (names.ndim - 1)), why)
    for out in call.outputs:
        record.ledger.write(out, joined)


def gated_halves(call: Call, record: Record) -> None:
    """GLU: the first half of the channels times a function of the second."""
    names, _ = _names(call, record)
    first, second = names.chunk(2, call.number("dim"))
    joined = record.table.join(first, second, Why("multiplied", call.place))
    record.ledger.write(call.outputs[0], joined)


def attention(call: Call, record: Record) -> None:
    """Scaled dot products: an output channel depends on its value channel at all positions, and on the weights there."""
    factors = [
        tensor for name in ("query", "key", "value") if (tensor := call.tensor(name)) is not None
    ]
    if len({tensor.shape[:-2] for tensor in factors}) > 1:
        refuse(call, record, "its heads share keys or values")
        return
    why = Why("mixed", call.place)
    joined: Tensor | None = None
    for name, united in (
        ("query", [-1]),
        ("key", [-1, -2]),
        ("value", [-2]),
        ("attn_bias", None),
        ("attn_mask", None),
    ):
        tensor = call.tensor(name)
        names = None if tensor is None else record.ledger.names(tensor)
        if names is None:
            continue
        over = list(range(names.ndim)) if united is None else united
        part = record.table.join_over(names, over, why)
        joined = part if joined is None else record.table.join(joined, part, why)
    record.ledger.write(call.outputs[0], joined)


def channel_norm(call: Call, record: Record) -> None:
    """Batch, group and instance normalisation: a channel stays itself, and the norm's entries are its own."""
    x = call.tensor("input")
    if x is None:
        return
    names = record.ledger.names(x)
    record.ledger.write(call.outputs[0], names)
    if names is None:
        return
    over = [axis for axis in range(x.ndim) if axis != 1]
    seen = record.table.join_over(names, over, Why("read together", call.place)).reshape(-1)
    kind = "group_norm" if call.op == "native_group_norm" else "batch_norm"
    _note_norm(call, record, kind, seen)
    if kind == "group_norm" and call.number("group") < x.shape[1]:
        for group in seen.reshape(call.number("group"), -1).tolist():
            if len(set(group)) > 1:
                for layer in record.table.layers_of(group):
                    text = f"shares its group's statistics in {call.place}"
                    record.statistics.setdefault(layer, {})[text] = None


def last_axes_norm(call: Call, record: Record) -> None:
    """Layer and root-mean-square normalisation: along the normalised axes every output depends on every input."""
    names, _ = _names(call, record)
    count = len(cast("Sequence[int]", call.arguments["normalized_shape"]))
    if count == 1:
        seen = record.table.join_over(
            names, range(names.ndim - 1), Why("read together", call.place)
        )
        _note_norm(call, record, "layer_norm", seen.reshape(-1))
    axes = range(names.ndim - count, names.ndim)
    joined = record.table.join_over(names, axes, Why("mixed", call.place))
    for out in call.outputs:
        record.ledger.write(out, joined)


def _note_norm(call: Call, record: Record, kind: str, seen: Tensor) -> None:
    """Remember which sets each entry of a norm's own tensors met."""
    tensors: dict[str, str] = {}
    entries: Tensor | None = None
    for argument in ("weight", "bias", "running_mean", "running_var"):
        found = own_name(record, call.tensor(argument))
        if found is not None:
            tensors[argument], entries = found
    if entries is None:
        return
    path = path_of(next(iter(tensors.values())))
    size = max(record.ledger.tensors[name].numel() for name in tensors.values())
    norm = record.norms.setdefault(path, NormRecord(kind, tensors, [set() for _ in range(size)]))
    for entry, name in zip(entries.tolist(), seen.tolist(), strict=True):
        norm.seen[entry].add(name)


def _names(call: Call, record: Record) -> tuple[Tensor, Tensor]:
    """The names behind an operation's first tensor, and that tensor."""
    x = next(value for value in call.arguments.values() if isinstance(value, Tensor))
    names = record.ledger.names(x)
    return (torch.zeros(x.shape, dtype=NAMES) if names is None else names), x


def _space(op: str) -> int:
    """Number of axes of space of a pooling operation, which its name ends in: ``avg_pool2d``."""
    return int(op.split("pool")[1][0])


def _write_windows(call: Call, record: Record, names: Tensor, positions: Sequence[Tensor]) -> None:
    joined = join_windows(record.table, names, positions, Why("mixed", call.place))
    for out in call.outputs:
        record.ledger.write(out, joined)


_REDUCTIONS: Final = (
    *(
        "sum",
        "mean",
        "prod",
        "amax",
        "amin",
        "aminmax",
        "max",
        "min",
        "median",
        "nanmedian",
        "mode",
        "kthvalue",
    ),
    *(
        "argmax",
        "argmin",
        "std",
        "var",
        "std_mean",
        "var_mean",
        "norm",
        "linalg_vector_norm",
        "logsumexp",
        "nansum",
    ),
    *(
        "any",
        "all",
        "count_nonzero",
        "_softmax",
        "_log_softmax",
        "softmax",
        "log_softmax",
        "cumsum",
        "cumprod",
    ),
    *("logcumsumexp", "cummax", "cummin", "sort", "argsort", "topk"),
)
_SLIDING: Final = (
    *(
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "max_pool2d",
        "max_pool3d",
        "avg_pool2d",
        "avg_pool3d",
    ),
    *("max_pool1d", "avg_pool1d"),
)
_ADAPTIVE: Final = (
    *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "adaptive_avg_pool3d"),
)
_CHANNEL_NORMS: Final = (
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("_batch_norm_no_update", "_batch_norm_with_update", "cudnn_batch_norm", "miopen_batch_norm"),
    *("batch_norm_elemt", "native_group_norm"),
)

RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys((*COPIES, "copy"), copy),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(_SLIDING, sliding_window),
    **dict.fromkeys(_ADAPTIVE, adaptive_window),
    **dict.fromkeys(_CHANNEL_NORMS, channel_norm),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), last_axes_norm),
    "glu": gated_halves,
}


def rule_for(call: Call) -> Rule | None:
    """The rule of an operation without weights that is neither a move nor pointwise, or None."""
    rule = RULES.get(call.op)
    if rule is None and call.in_place and call.op in FILLS:
        rule = fill
    if rule is None and call.op.startswith(_WHOLE_SPACE):
        rule = whole_space
    if rule is None and call.op.startswith("_scaled_dot_product_"):
        rule = attention
    return rule
