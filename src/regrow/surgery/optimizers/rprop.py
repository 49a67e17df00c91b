"""Rprop: the previous gradient is forgotten, and the step sizes begin at the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import Options, learning_rate


@final
class Rprop(Family):
    """Previous gradient zeroed; step size = the learning rate of the unit's first step.

    torch fills the step sizes at a parameter's first step, with the learning rate of that moment. A scheduler
    may change it between the renewal and that step, so the renewed entries are filled right before it.
    After that everything is elementwise, and nothing knows the time.
    """

    zeroed = ("prev",)
    others = ("step_size",)
    ages = True
    prepares = True

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """Never: the optimizer's own step is right."""
        return False

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """The step sizes are the learning rate, as of the moment; `prepare_` takes that of the first step."""
        return {"step_size": learning_rate(group)}

    def prepare_(self, state: Mapping[str, Any], newborn: Tensor, *, group: Options) -> None:
        """Fill the step sizes with the learning rate."""
        size = state["step_size"]
        rate = torch.as_tensor(learning_rate(group), dtype=size.dtype, device=size.device)
        size.copy_(torch.where(newborn, rate, size))
