"""RMSprop as TensorFlow has it: the average of squares begins at one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regrow.surgery.optimizers.base import Family, Options


@final
class RMSpropTF(Family):
    """Mean and momentum are zeroed, the average of squares is set to one. Nothing knows the time."""

    zeroed = ("grad_avg", "momentum_buffer")
    others = ("square_avg",)

    def begin_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """Zero mean and momentum, fill the average of squares.

        Args:
            parameter: The parameter.
            state: The optimizer's state of it. Written at the mask.
            mask: True where a unit begins anew.
            group: The options.
            defaults: The options that the optimizer was made with.
        """
        super().begin_(parameter, state, mask, group=group, defaults=defaults)
        state["square_avg"].masked_fill_(mask, 1.0)
