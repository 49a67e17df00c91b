"""How the sets flow through operations on windows of space: pooling and interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from regrow.graph.meetings import Reason
from regrow.graph.record import Call, Record, names_in
from regrow.graph.windows import adaptive_positions, at, join_windows, kernel_positions

SLIDING: Final = (
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool1d", "max_pool2d"),
    *("max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
)
ADAPTIVE: Final = (
    *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "adaptive_avg_pool3d"),
)
WHOLE_SPACE: Final = ("upsample_", "_upsample_", "fractional_max_pool", "grid_sampler")


def sliding_window(call: Call, record: Record) -> None:
    """Maximum and average pooling."""
    names, x = names_in(call, record)
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
    names, x = names_in(call, record)
    axes = _space(call.op)
    out = call.outputs[0]
    positions = [
        adaptive_positions(size=x.shape[axis - axes], count=out.shape[axis - axes])
        for axis in range(axes)
    ]
    _write_windows(call, record, names, positions)


def whole_space(call: Call, record: Record) -> None:
    """Interpolation, random windows: a channel's outputs depend on all of its positions, to be on the safe side."""
    names, _ = names_in(call, record)
    why = Reason("mixed", call.place)
    joined = record.table.join_over(names, range(2, names.ndim), why)
    steering = record.ledger.names(call.tensor("grid"))
    if steering is not None:
        each = record.table.join_over(steering, range(1, steering.ndim), why)
        joined = record.table.join(joined, each.reshape(-1, *(1,) * (names.ndim - 1)), why)
    record.write(call, joined)


def _space(op: str) -> int:
    """Number of axes of space of a pooling operation, which its name ends in: ``avg_pool2d``."""
    return int(op.split("pool")[1][0])


def _write_windows(call: Call, record: Record, names: Tensor, positions: Sequence[Tensor]) -> None:
    record.write(call, join_windows(record.table, names, positions, Reason("mixed", call.place)))
