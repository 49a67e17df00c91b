"""RMSprop as TensorFlow has it: the average of squares begins at one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import Options


@final
class RMSpropTF(Family):
    """Mean and momentum are zeroed, the average of squares is set to one. Nothing knows the time."""

    zeroed = ("grad_avg", "momentum_buffer")
    others = ("square_avg",)

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """The average of squares is one."""
        return {"square_avg": 1.0}
