"""Kin of Adam outside of torch: timm's AdamWLegacy and NAdamW, transformers' AdamW."""

from __future__ import annotations

from typing import final

from torch import Tensor

from regrow.surgery.optimizers.adam import adam_update
from regrow.surgery.optimizers.recomputed import RecomputedMoments
from regrow.surgery.optimizers.step import (
    Options,
    YoungStep,
    as_fine,
    bias_correction,
    learning_rate,
)


class AdamWLegacy(RecomputedMoments):
    """As AdamW, also with amsgrad and corrected weight decay."""

    zeroed = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def update(self, young: YoungStep) -> Tensor:
        """Adam's."""
        group = young.group
        return adam_update(
            self.first_moment(young),
            self.second_moment(young),
            age=young.age,
            lr=learning_rate(group),
            beta1=float(group["betas"][0]),
            beta2=float(group["betas"][1]),
            eps=float(group["eps"]),
        )

    def first_moment(self, young: YoungStep) -> Tensor:
        """After the step."""
        return young.now("exp_avg")

    def second_moment(self, young: YoungStep) -> Tensor:
        """After the step."""
        amsgrad = "max_exp_avg_sq" in self.zeroed and young.group.get("amsgrad", False)
        return young.now("max_exp_avg_sq" if amsgrad else "exp_avg_sq")


@final
class NAdamW(AdamWLegacy):
    """Moments zeroed, bias corrections of the unit's own age; the first moment looks one step ahead.

    The gradient counts a second time: the step is Adam's with ``m + (1 - beta1) * (g - m)`` in the place of m.

    Source:
        Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016, without a momentum schedule.
    """

    zeroed = ("exp_avg", "exp_avg_sq")

    def first_moment(self, young: YoungStep) -> Tensor:
        """That of one more step."""
        mean, grad = young.now("exp_avg"), young.direction(weight_decay=0.0)
        return mean + (1.0 - float(young.group["betas"][0])) * (grad - mean)


@final
class TransformersAdamW(RecomputedMoments):
    """As AdamW, with eps added to the uncorrected moment, and weight decay after the step.

    With ``correct_bias=False`` nothing knows the time, and zeroing is exact.
    """

    zeroed = ("exp_avg", "exp_avg_sq")
    decay_after = True

    def knows_age(self, group: Options) -> bool:
        """With bias correction."""
        return bool(group["correct_bias"])

    def update(self, young: YoungStep) -> Tensor:
        """Adam's, with another eps."""
        group, mean = young.group, young.now("exp_avg")
        beta1, beta2 = (float(beta) for beta in group["betas"])
        age = as_fine(young.age, mean)
        length = (
            learning_rate(group) * bias_correction(beta2, age).sqrt() / bias_correction(beta1, age)
        )
        return length.to(mean.dtype) * mean / (young.now("exp_avg_sq").sqrt() + float(group["eps"]))
