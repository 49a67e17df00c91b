"""Slow weights of an optimizer: those of a renewed unit begin where the unit does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import ConfigError

SLOW: Final = "lookahead_slow_buff"
"""Where timm's Lookahead keeps the slow copy of a parameter, in the state of the optimizer that it steps."""

_OPTION: Final = "lookahead_k"
"""That it adds to the groups of the optimizer that it steps."""


def refuse_slow_without_hooks(optimizer: Optimizer) -> None:
    """Refuse calls around the whole step where slow weights are met inside of it.

    They are met between the inner step and the end of the outer one, and young entries must be right before that.
    """
    if any(_OPTION in group for group in optimizer.param_groups):
        raise ConfigError(
            "Lookahead meets its slow weights inside of its step, before regrower.after_step(): it needs hooks=True "
            "(attach)"
        )


def begin_slow_(parameter: nn.Parameter, state: Mapping[str, Any], mask: Tensor) -> None:
    """Let slow weights begin at the new values, as those of the whole network began at its first ones.

    Left as they are they would pull a renewed unit half of the way back to the old one when they are next met.

    Source:
        Zhang, Lucas, Hinton, Ba, "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019, Algorithm 1.
    """
    slow = state.get(SLOW)
    if isinstance(slow, Tensor):
        slow.copy_(torch.where(mask.to(slow.device), parameter.detach().to(slow.dtype), slow))
