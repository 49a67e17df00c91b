"""Lion: one average, and the sign of it; nothing knows the time."""

from __future__ import annotations

from typing import final

from regrow.surgery.optimizers.base import Family


@final
class Lion(Family):
    """The average is zeroed: the step is the sign of a mean of it and of the gradient.

    Source:
        Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.
    """

    zeroed = ("exp_avg",)
