"""Adagrad: the sum of squares begins anew; with lr_decay so does the rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from regrow.functional import adagrad_rate
from regrow.surgery.optimizers.base import Due, Family, Made, Options, fine, learning_rate


@final
class Adagrad(Family):
    """The sum is set to ``initial_accumulator_value``; with lr_decay the rate is that of the unit's own age.

    Without lr_decay nothing knows the time, and nothing need be remembered. With it the rates of old and new
    never meet (their ratio goes to 1 as 1 - gap / age), so young entries stay young: the step of such a tensor
    is computed a second time from then on.
    """

    others = ("sum",)
    only_counts = True

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """The sum of a fresh parameter is the constructor's, whatever its group says.

        Args:
            group: The options.
            defaults: The options that the optimizer was made with.

        Returns:
            It.
        """
        del group
        return {"sum": defaults["initial_accumulator_value"]}

    def remembers(self, group: Options) -> bool:
        """With lr_decay.

        Args:
            group: The options.

        Returns:
            Whether the rate falls.
        """
        return bool(group["lr_decay"] != 0)

    def needs_pre_step(self, group: Options) -> bool:
        """With lr_decay.

        Args:
            group: The options.

        Returns:
            Whether the rate falls.
        """
        return self.remembers(group)

    def due(self, made: Made) -> Due:
        """Adagrad's step with the rate of the unit's own age.

        Args:
            made: The step.

        Returns:
            The parameter.
        """
        group, kind = made.group, fine(made.parameter)
        rate = adagrad_rate(
            made.age, lr=learning_rate(group), lr_decay=float(group["lr_decay"])
        ).to(kind)
        direction = made.direction(weight_decay=group["weight_decay"])
        return Due(value=made.value - rate * direction / (made.now("sum").sqrt() + group["eps"]))

    def horizon(self, group: Options) -> None:
        """Never.

        Args:
            group: The options.
        """
        del group
