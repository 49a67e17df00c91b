"""SGD: the momentum of a renewed unit is zero, and its first step is undamped."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import Options, StepResult, YoungStep, learning_rate, lost_share


class SGD(Family):
    """Zero momentum is all that a fresh unit has, unless there is dampening.

    With dampening, torch gives a parameter's very first momentum the whole gradient, and every later one
    (1 - dampening) of it. So the first step of a renewed unit is computed here, from the parameter right
    before the step, and written over the optimizer's. SGD counts no steps: the surgeon counts those that
    were made with momentum, since without it the buffer is left as it is.
    """

    zeroed = ("momentum_buffer",)
    counts = False

    def knows_age(self, group: Options) -> bool:
        """With dampening, for one step."""
        return bool(group["dampening"] != 0)

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """In every step that touches the momentum of a unit whose first such step is still to come."""
        return bool(group["momentum"] != 0)

    def overwrites_grad(self, group: Options) -> bool:
        """The foreach form with nesterov adds the momentum to the gradient in place."""
        return bool(group["nesterov"] and not group["fused"])

    def result(self, young: YoungStep) -> StepResult:
        """The first step with momentum: momentum = gradient."""
        first, kept = self.decayed(young)
        step = first + young.group["momentum"] * first if young.group["nesterov"] else first
        value = kept - learning_rate(young.group) * step
        return StepResult(value=value, state={"momentum_buffer": first})

    def decayed(self, young: YoungStep) -> tuple[Tensor, Tensor]:
        """What weight decay makes of the gradient and of the parameter."""
        return young.direction(weight_decay=young.group["weight_decay"]), young.value


@final
class SGDW(SGD):
    """timm's: weight decay is decoupled."""

    def overwrites_grad(self, group: Options) -> bool:
        """With nesterov the foreach form of earlier versions adds the momentum to the gradient in place."""
        return bool(group["nesterov"])

    def decayed(self, young: YoungStep) -> tuple[Tensor, Tensor]:
        """What weight decay makes of the gradient and of the parameter."""
        share = lost_share(young.group, lr=learning_rate(young.group))
        return young.direction(weight_decay=0.0), young.value * (1.0 - share)
