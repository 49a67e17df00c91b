"""Write new values into parameters and buffers, in place, and into nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from regrow.renewal import Edit


def apply_edits_(tensors: Mapping[str, Tensor], edits: Iterable[Edit]) -> None:
    """Carry out edits on live tensors.

    The tensors keep their identity, so that optimizers, compiled graphs and wrappers which hold them
    go on; autograd is told (no ``.data``), so that an edit between a forward and its backward pass
    is an error and not a wrong gradient. Entries outside the mask keep their bits.

    Args:
        tensors: Parameters and buffers by name. Written where an edit says so.
        edits: What to write.
    """
    with torch.no_grad():
        for edit in edits:
            tensor = tensors[edit.name]
            mask = edit.mask.to(tensor.device)
            tensor.copy_(
                torch.where(
                    mask,
                    torch.as_tensor(edit.value, dtype=tensor.dtype, device=tensor.device),
                    tensor,
                )
            )
