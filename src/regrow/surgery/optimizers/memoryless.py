"""Adadelta and RMSprop: averages that begin at zero and are not corrected for it."""

from __future__ import annotations

from typing import final

from regrow.surgery.optimizers.base import Family


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
