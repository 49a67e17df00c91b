"""Whether a training that seems to begin has begun before, as in a resume that forgets the regrower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def has_stepped(optimizer: Optimizer) -> bool:
    """Whether an optimizer remembers a step that it has made.

    Args:
        optimizer: A bare torch optimizer.

    Returns:
        False for one that remembers nothing, as SGD without momentum does.
    """
    return any(_shows_a_step(state) for state in optimizer.state.values())


def _shows_a_step(state: Mapping[str, Any]) -> bool:
    count = state.get("step")
    if isinstance(count, (int, float)) or (isinstance(count, Tensor) and count.numel() == 1):
        return float(count) > 0
    return any(isinstance(each, Tensor) and bool(each.any()) for each in state.values())
