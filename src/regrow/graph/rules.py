"""How the sets flow through operations without weights, and which rule is whose.

Asked by `graph/twin.py` for each operation that is neither a product with a weight nor a move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from regrow.graph import foreign, pooling
from regrow.graph.meetings import Reason
from regrow.graph.norms import CHANNEL_NORMS, LAST_AXES_NORMS, channel_norm, last_axes_norm
from regrow.graph.record import Call, Record, names_in
from regrow.graph.sets import as_names

Rule = Callable[[Call, Record], None]

COPIES: Final = frozenset({"clone", "_to_copy", "lift_fresh_copy", "_conj_physical", "_pin_memory"})
"""New memory, same shape, same values."""

FILLS: Final = frozenset(
    {
        *("zero", "fill", "bernoulli", "normal", "uniform", "random", "exponential", "log_normal"),
        *("geometric", "cauchy"),
    }
)
"""In place, these overwrite with numbers that depend on nothing."""

MADE_ANEW: Final = frozenset(
    {
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
        *("randint_like", "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"),
    }
)
"""Of an argument these use the shape only."""

_POINTWISE: Final = frozenset(
    {
        *("hardswish", "_prelu_kernel", "rrelu_with_noise", "native_dropout", "_fused_dropout"),
        *("where", "masked_fill"),
    }
)
"""Pointwise operations that some releases of torch do not tag as such."""

_SUMS: Final = frozenset(
    {"add", "sub", "rsub", "addcmul", "addcdiv", "lerp", "sum", "mean", "nansum"}
)
_GATES: Final = frozenset({"mul", "div"})
_SCALES: Final = _GATES | {"_prelu_kernel"}
"""Of the model's own tensors these make factors."""


def is_pointwise(name: str, tags: Sequence[torch.Tag]) -> bool:
    """Whether an operation works element by element."""
    return name in _POINTWISE or torch.Tag.pointwise in tags


def pointwise(call: Call, record: Record) -> None:
    """Element by element: an output depends on what its operands depend on."""
    verb = "summed" if call.op in _SUMS else "multiplied" if call.op in _GATES else "joined"
    why = Reason(verb, call.place)
    joined = record.table.join_all(map(record.ledger.names, call.tensors), why)
    # A factor leaves a channel to its filter (0 times anything is 0), a summand does not.
    if joined is not None and call.op not in _SCALES:
        for value in call.tensors:
            if added := foreign.added(record, value, joined):
                joined = record.table.join(joined, as_names(added), why)
    record.write(call, joined)


def copy(call: Call, record: Record) -> None:
    """The same values elsewhere."""
    source = call.tensor("src") if call.op == "copy" else call.tensor("self")
    if source is None:
        return
    names = record.ledger.names(source)
    if names is None and call.op == "copy" and (own := foreign.moved(record, source)):
        names = as_names(own)
    record.write(call, names)


def fill(call: Call, record: Record) -> None:
    """The old values are gone."""
    record.write(call, record.ledger.names(call.tensor("value")))


def reduction(call: Call, record: Record) -> None:
    """Sums, maxima, softmax, sorting: along the named axes every output depends on every input."""
    names, x = names_in(call, record)
    given = call.arguments.get("dim")
    chosen = given if isinstance(given, (list, tuple)) else [given]
    dims = [int(str(axis)) for axis in chosen if axis is not None] or list(range(x.ndim))
    verb = "summed" if call.op in _SUMS else "mixed"
    joined = record.table.join_over(names, dims, Reason(verb, call.place))
    for out in call.outputs:
        if out.ndim == x.ndim:
            record.ledger.write(out, joined.expand(out.shape))
        else:
            dropped = {axis % x.ndim for axis in dims}
            kept = [size for axis, size in enumerate(joined.shape) if axis not in dropped]
            record.ledger.write(out, joined.reshape(kept))


def loss(call: Call, record: Record) -> None:
    """What a model gives in training mode: every number of it depends on all that is compared."""
    union = record.table.union(record.behind(call.arguments.values()), Reason("mixed", call.place))
    record.write(call, as_names(union))


def gated_halves(call: Call, record: Record) -> None:
    """GLU: the first half of the channels times a function of the second."""
    names, _ = names_in(call, record)
    first, second = names.chunk(2, call.number("dim"))
    joined = record.table.join(first, second, Reason("multiplied", call.place))
    record.ledger.write(call.outputs[0], joined)


def attention(call: Call, record: Record) -> None:
    """Scaled dot products: an output channel depends on its value channel at all positions, and on their weights."""
    factors = [
        tensor for name in ("query", "key", "value") if (tensor := call.tensor(name)) is not None
    ]
    # Grouped queries: which key is whose cannot be read off the axes, and heads would get others' filters.
    if len({tensor.shape[:-2] for tensor in factors}) > 1:
        record.give_up(call, "its heads share keys or values")
        return
    why = Reason("mixed", call.place)

    def united(name: str, over: Sequence[int] | None) -> Tensor | None:
        names = record.ledger.names(call.tensor(name))
        if names is None:
            return None
        return record.table.join_over(names, range(names.ndim) if over is None else over, why)

    # The weights of the mean come from all of the query's and the key's channels; the value's channels stay apart.
    axes = {"query": (-1,), "key": (-1, -2), "value": (-2,), "attn_bias": None, "attn_mask": None}
    parts = (united(name, over) for name, over in axes.items())
    record.ledger.write(call.outputs[0], record.table.join_all(parts, why))


_REDUCTIONS: Final = (
    *("sum", "mean", "prod", "amax", "amin", "aminmax", "max", "min", "median", "nanmedian"),
    *("mode", "kthvalue", "argmax", "argmin", "std", "var", "std_mean", "var_mean", "norm"),
    *("linalg_vector_norm", "logsumexp", "nansum", "any", "all", "count_nonzero", "_softmax"),
    *("_safe_softmax", "_log_softmax", "softmax", "log_softmax", "cumsum", "cumprod"),
    *("logcumsumexp", "cummax", "cummin", "sort", "argsort", "topk"),
)
_LOSSES: Final = (
    *("nll_loss_forward", "nll_loss2d_forward", "mse_loss", "smooth_l1_loss", "huber_loss"),
    *("binary_cross_entropy", "multi_margin_loss", "multilabel_margin_loss_forward", "_ctc_loss"),
)
RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys((*COPIES, "copy"), copy),
    **dict.fromkeys(_REDUCTIONS, reduction),
    **dict.fromkeys(pooling.SLIDING, pooling.sliding_window),
    **dict.fromkeys(pooling.ADAPTIVE, pooling.adaptive_window),
    **dict.fromkeys(CHANNEL_NORMS, channel_norm),
    **dict.fromkeys(LAST_AXES_NORMS, last_axes_norm),
    **dict.fromkeys(_LOSSES, loss),
    "glu": gated_halves,
}


UNCHANGED: Final = frozenset({*COPIES, *FILLS, "copy", *CHANNEL_NORMS})
"""What is left of filters that give 0 stays what it is behind these, or their rule says it."""


def rule_for(call: Call) -> Rule | None:
    """The rule of an operation without weights that is neither a move nor pointwise, or None."""
    rule = RULES.get(call.op)
    if rule is None and call.in_place and call.op in FILLS:
        rule = fill
    if rule is None and call.op.startswith(pooling.WHOLE_SPACE):
        rule = pooling.whole_space
    if rule is None and call.op.startswith("_scaled_dot_product_"):
        rule = attention
    return rule
