"""Adadelta, RMSprop, Lion: averages that are not corrected for how they began, so that nothing knows the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from regrow.surgery.optimizers.base import Family
from regrow.surgery.optimizers.step import Options


@final
class Adadelta(Family):
    """Both averages are zeroed. The step count is kept by torch and used by nothing."""

    zeroed = ("square_avg", "acc_delta")


@final
class RMSprop(Family):
    """The averages (with ``centered``: also the gradient's) and the momentum are zeroed.

    The step count is kept by torch and used by nothing.
    """

    zeroed = ("square_avg", "grad_avg", "momentum_buffer")


@final
class RMSpropTF(Family):
    """As TensorFlow has it: mean and momentum are zeroed, the average of squares is set to one."""

    zeroed = ("grad_avg", "momentum_buffer")
    others = ("square_avg",)

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """The average of squares is one."""
        return {"square_avg": 1.0}


@final
class Lion(Family):
    """The average is zeroed: the step is the sign of a mean of it and of the gradient.

    Source:
        Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.
    """

    zeroed = ("exp_avg",)
