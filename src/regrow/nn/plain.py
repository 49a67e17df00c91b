"""Tensors that are nothing but numbers in memory: only of these is it known what an operation in place does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def are_plain(tensors: Sequence[Tensor]) -> bool:
    """Whether these are numbers in memory that nobody looks at but autograd.

    Not fake tensors, subclasses, transforms' wrappers, duals, and nothing under a dispatch mode or a tracer.
    """
    if is_in_torch_dispatch_mode() or torch.jit.is_tracing():
        return False
    return all(map(_is_plain, tensors))


def _is_plain(tensor: Tensor) -> bool:
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.device.type not in ("cpu", "cuda"):
        return False
    try:
        tensor.data_ptr()  # a transform's wrapper has none, and says so by an error
    except RuntimeError:
        return False
    return forward_ad.unpack_dual(tensor).tangent is None
