"""What is known of a reading layer without running it: how many inputs it has, and how its taps meet."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd  # pyright: ignore[reportPrivateUsage] # its base class

from regrow.graph.filters import Reader


def inputs_of(reader: Reader, weight: Tensor) -> int:
    """Input channels, or features, over all groups."""
    return weight.shape[0] if reader.inputs_first else weight.shape[1] * reader.groups


def taps_of(module: nn.Module | None) -> float:
    """`ReaderActivity.taps` of a module."""
    return 1.0 / math.prod(module.stride) if isinstance(module, _ConvTransposeNd) else 1.0
