"""Families whose step is a function of the moments and of the age: Adam's (`adam.py`) and RAdam's (`rectified.py`)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from regrow.surgery.optimizers.base import Family
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

    def moments(self, group: Options) -> tuple[str, str]:
        """Where the optimizer keeps the moments that its step is made of: the first two that are zeroed."""
        first, second, *_ = self.zeroed
        return first, second

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
        """What to add to a parameter, after a step, for each unit of the first moment; `theirs` is from `common`.

        `into` are two tensors of the shape of `second` to work in; the second of them may be what is returned.
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
