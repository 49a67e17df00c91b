"""Take filters out of a network for a while: what must be zero so that the rest is the smaller network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regrow._shapes import Mask
from regrow.graph.filters import Filters
from regrow.graph.slices import bias_mask, norm_mask, reader_mask, weight_mask
from regrow.renewal.base import Edit


def drop_edits(filters: Filters, mask: Mask, *, params: Mapping[str, Tensor]) -> list[Edit]:
    """Zeros where the marked filters speak and where they are heard.

    A filter whose weights, bias and norm entries are 0 gives 0 behind its norm; the slices that read it are 0 too, so
    that it is not heard either where an activation turns 0 into something else. What it shares on a residual stream is
    kept: there it adds 0.

    Args:
        filters: The layer.
        mask: (O,), True = dropped.
        params: Parameters and buffers by name.

    Returns:
        Edits of parameters; running statistics are left.
    """
    found = [Edit(name=filters.weight, mask=weight_mask(filters, mask), value=0.0)]
    if filters.bias is not None:
        found.append(Edit(name=filters.bias, mask=bias_mask(filters, mask), value=0.0))
    for norm in filters.norms:
        found.extend(
            Edit(name=name, mask=norm_mask(norm, mask, params[name].shape[0]), value=0.0)
            for name in (norm.weight, norm.bias)
            if name is not None
        )
    for reader in filters.readers:
        where = reader_mask(reader, mask, tuple(params[reader.weight].shape), only_alone=True)
        found.append(Edit(name=reader.weight, mask=where, value=0.0))
    return found
