"""SGD: the momentum of a renewed unit is zero, and its first step is undamped."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regrow.surgery.optimizers.base import Due, Family, Made, Options, learning_rate
from regrow.surgery.optimizers.options import lost_share


class SGD(Family):
    """Zero momentum is all that a fresh unit has, unless there is dampening.

    With dampening, torch gives a parameter's very first momentum the whole gradient, and every later one
    (1 - dampening) of it. So the first step of a renewed unit is computed here, from the parameter right
    before the step, and written over the optimizer's. SGD counts no steps: the surgeon counts those that
    were made with momentum, since without it the buffer is left as it is.
    """

    zeroed = ("momentum_buffer",)
    counts = False

    def remembers(self, group: Options) -> bool:
        """With dampening, for one step.

        Args:
            group: The options.

        Returns:
            Whether the first step must be replaced.
        """
        return bool(group["dampening"] != 0)

    def needs_pre_step(self, group: Options) -> bool:
        """With dampening.

        Args:
            group: The options.

        Returns:
            Whether the first step must be replaced.
        """
        return self.remembers(group)

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """In every step that touches the momentum of a unit whose first such step is still to come.

        Args:
            group: The options.
            coarse: Whether the parameter has fewer digits than float32.

        Returns:
            Whether the step has momentum.
        """
        del coarse
        return bool(group["momentum"] != 0)

    def overwrites_grad(self, group: Options) -> bool:
        """The foreach form with nesterov adds the momentum to the gradient in place.

        Args:
            group: The options.

        Returns:
            Whether it may do so.
        """
        return bool(group["nesterov"] and not group["fused"])

    def due(self, made: Made) -> Due:
        """The first step with momentum: momentum = gradient.

        Args:
            made: The step.

        Returns:
            Parameter and momentum.
        """
        first, kept = self.decayed(made)
        step = first + made.group["momentum"] * first if made.group["nesterov"] else first
        value = kept - learning_rate(made.group) * step
        return Due(value=value, state={"momentum_buffer": first})

    def decayed(self, made: Made) -> tuple[Tensor, Tensor]:
        """What weight decay makes of the gradient and of the parameter.

        Args:
            made: The step.

        Returns:
            Both; coupled decay changes the gradient.
        """
        return made.direction(weight_decay=made.group["weight_decay"]), made.value


@final
class SGDW(SGD):
    """timm's: weight decay is decoupled."""

    def overwrites_grad(self, group: Options) -> bool:
        """With nesterov the foreach form of earlier versions adds the momentum to the gradient in place.

        Args:
            group: The options.

        Returns:
            Whether it may do so.
        """
        return bool(group["nesterov"])

    def decayed(self, made: Made) -> tuple[Tensor, Tensor]:
        """What weight decay makes of the gradient and of the parameter.

        Args:
            made: The step.

        Returns:
            Both; decoupled decay changes the parameter.
        """
        share = lost_share(made.group, lr=learning_rate(made.group))
        return made.direction(weight_decay=0.0), made.value * (1.0 - share)
