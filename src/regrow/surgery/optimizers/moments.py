"""Adam, AdamW, RAdam, Adamax: the step is a function of the moments and of the age."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from regrow.functional.moments import adam_factors, adam_rate, bias_correction, safe_root
from regrow.functional.rectified import radam_factors, radam_rate
from regrow.surgery.optimizers.base import Family, updates_until
from regrow.surgery.optimizers.step import (
    FORGOTTEN,
    Options,
    StepResult,
    YoungStep,
    fine,
    learning_rate,
)


class MomentFamily(Family):
    """The step depends on the moments, which are right after it, and on the age, which is the tensor's.

        step = first moment * rate(second moment, factors of the age)

    So no look at the tensor before the step is needed: what the optimizer has subtracted can be computed,
    and what it should have, and the difference is added. This works in loops without hooks too, and weight
    decay, maximize, foreach and fused need no case of their own, for they act on the moments or on both
    sides alike. The difference is rounded once more to the parameter's digits, in float32 one unit in the
    last place a step at most. In bfloat16 and float16 that would be coarse, and the optimizer's own
    intermediate results are rounded so too: there the tensor before the step is kept, if hooks allow,
    and the new value is computed in float32 and rounded once.
    """

    only_counts = True
    ages = True
    rest = FORGOTTEN

    def needs_pre_step(self, group: Options) -> bool:
        """Never: what a step should have left follows from what it has left."""
        return False

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """Only where that gives more digits."""
        return coarse

    def decoupled(self, group: Options) -> bool:
        """Whether weight decay shrinks the parameter itself, apart from the gradient's step."""
        return bool(group.get("decoupled_weight_decay", False))

    @abstractmethod
    def moments(self, group: Options) -> tuple[str, str]:
        """Where the optimizer keeps the moments that its step is made of."""

    @abstractmethod
    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """All that the step needs to know of an age.

        None of them may grow with the age: of the births of a row and of a column the later one counts, and has the
        larger factors.
        """

    @abstractmethod
    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """What is the same at every age."""

    @abstractmethod
    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """What the first moment is multiplied by."""

    def taken(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """As `rate`, of the age that the step was made with, by what `common` has made of its factors."""
        return self.rate(prepared, factors, group=group)

    def common(self, factors: Sequence[Tensor], *, group: Options) -> Sequence[Tensor]:
        """What `taken` needs of the factors of a whole tensor, worked out once for all of its blocks."""
        del group
        return factors

    def gap(
        self,
        second: Tensor,
        own: Sequence[Tensor],
        theirs: Sequence[Tensor],
        *,
        group: Options,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """What to add to a parameter, after a step, for each unit of the first moment.

        Args:
            theirs: By `common`.
            into: Two tensors of the shape of `second` to work in; the second of them may be what is returned.
        """
        del into
        prepared = self.prepared(second, group=group)
        taken = self.taken(prepared, theirs, group=group)
        return taken.sub_(self.rate(prepared, own, group=group))

    def result(self, young: YoungStep) -> StepResult:
        """Take back what was subtracted, subtract what is due; where the tensor before the step is known, from that."""
        group, kind = young.group, fine(young.parameter)
        step = young.step.to(dtype=young.age.dtype, device=young.parameter.device)
        own, theirs = (
            [factor.to(kind) for factor in self.factors(age, group=group)]
            for age in (young.age, step)
        )
        first, second = (young.now(key) for key in self.moments(group))
        value = young.left + first * self.gap(second, own, theirs, group=group)
        if young.before is None or young.before.count is None:
            return StepResult(value=value)
        decay = group["weight_decay"] if self.decoupled(group) else 0.0
        wanted = first * self.rate(self.prepared(second, group=group), own, group=group)
        again = young.value * (1.0 - learning_rate(group) * decay) - wanted
        # In a loop without hooks it was taken after the step. On a GPU that is not known here.
        in_time = (young.before.count != young.step).to(value.device)
        return StepResult(value=torch.where(in_time, again, value))


class Adam(MomentFamily):
    """Also with amsgrad: moments (and their maximum) zeroed, bias corrections of the unit's own age."""

    zeroed = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def moments(self, group: Options) -> tuple[str, str]:
        """With amsgrad the maximum."""
        return "exp_avg", "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"

    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """Both bias corrections."""
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return adam_factors(age, lr=learning_rate(group), beta1=beta1, beta2=beta2)

    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """Its root."""
        return safe_root(second)

    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """Adam's."""
        length, spread = factors
        return adam_rate(prepared, length, spread, eps=float(group["eps"]))

    def gap(
        self,
        second: Tensor,
        own: Sequence[Tensor],
        theirs: Sequence[Tensor],
        *,
        group: Options,
        into: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Taken with the fraction reduced by the spread: one pass less; and all in two tensors.

        To find memory for each pass takes as long as a pass does. Divided and subtracted in one pass, which rounds as
        two do, since the factor between them is -1.
        """
        above, added = theirs
        length, spread = own
        first, other = (None, None) if into is None else into
        root = safe_root(second, out=first)
        taken = torch.add(root, added, out=other)
        torch.div(above, taken, out=taken)
        below = torch.mul(root, spread, out=first).add_(float(group["eps"]))
        return taken.addcdiv_(length, below, value=-1)

    def common(self, factors: Sequence[Tensor], *, group: Options) -> Sequence[Tensor]:
        """Numerator and what is added to the root, both reduced by the spread."""
        length, spread = factors
        return length / spread, float(group["eps"]) / spread


@final
class AdamW(Adam):
    """As Adam; weight decay is decoupled, whether the group says so (torch from 2.7 on) or not."""

    def decoupled(self, group: Options) -> bool:
        """Always."""
        return True


@final
class RAdam(MomentFamily):
    """Moments zeroed; bias corrections and rectification of the unit's own age."""

    zeroed = ("exp_avg", "exp_avg_sq")
    # The rectification lags by age * beta2^age.
    rest = FORGOTTEN**1.6

    def moments(self, group: Options) -> tuple[str, str]:
        """Adam's."""
        return "exp_avg", "exp_avg_sq"

    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """Bias correction and rectification."""
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return radam_factors(age, lr=learning_rate(group), beta1=beta1, beta2=beta2)

    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """The inverse of its root."""
        return safe_root(second).add_(float(group["eps"])).reciprocal_()

    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """RAdam's."""
        return radam_rate(prepared, *factors)


@final
class Adamax(MomentFamily):
    """Moment and decaying maximum zeroed; bias correction of the unit's own age."""

    zeroed = ("exp_avg", "exp_inf")

    def moments(self, group: Options) -> tuple[str, str]:
        """The maximum in the place of the second."""
        return "exp_avg", "exp_inf"

    def factors(self, age: Tensor, *, group: Options) -> tuple[Tensor, ...]:
        """One bias correction."""
        return (learning_rate(group) / bias_correction(float(group["betas"][0]), age),)

    def prepared(self, second: Tensor, *, group: Options) -> Tensor:
        """Its inverse."""
        return second.reciprocal()

    def rate(self, prepared: Tensor, factors: Sequence[Tensor], *, group: Options) -> Tensor:
        """Adamax's."""
        return prepared * factors[0]

    def horizon(self, group: Options) -> int:
        """Until the moment has forgotten that it began at zero; the maximum is not corrected."""
        return updates_until(float(group["betas"][0]))
