"""How one family of optimizers treats a unit that begins anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.optimizers.holding import memories
from regrow.surgery.optimizers.options import coupling
from regrow.surgery.optimizers.slow import SLOW, begin_slow_

Options = Mapping[str, Any]
"""One of the optimizer's parameter groups."""

LEAVE: Final = (
    "reset_optimizer=False in the recipe (RandomOut(reset_optimizer=False)) leaves the optimizer's state of renewed "
    "filters as it is"
)
"""The way out that every optimizer has."""

FORGOTTEN: Final = 1e-9
"""What depends on the age less than this is below float32's rounding."""


def fine(tensor: Tensor) -> torch.dtype:
    """The type in which the arithmetic on a tensor is done: float32, or float64 where it is float64."""
    return torch.float64 if tensor.dtype is torch.float64 else torch.float32


def counting_type(tensor: Tensor) -> torch.dtype:
    """The type of numbers that are kept beside a tensor's entries: float64, where the device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def is_coarse(tensor: Tensor) -> bool:
    """Whether a tensor has fewer digits than float32."""
    return tensor.dtype not in {torch.float32, torch.float64}


def learning_rate(group: Options) -> float | Tensor:
    """The group's learning rate; a tensor of one element without axes."""
    lr = group["lr"]
    return lr.reshape(()) if isinstance(lr, Tensor) else float(lr)


@dataclass(frozen=True, kw_only=True)
class Before:
    """What was kept of the young part of a tensor right before a step.

    Attributes:
        value: A copy of the parameter's.
        grad: The gradient of the whole tensor: itself, or a copy where the optimizer will write into it.
        copied: Whether it is a copy.
        state: Copies of the entries of the optimizer's state that the family wants to see again.
        count: The tensor's number of updates then; None where the optimizer does not count.
    """

    value: Tensor
    grad: Tensor
    copied: bool
    state: Mapping[str, Tensor]
    count: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Made:
    """A step that the optimizer has just made on the young part of one tensor.

    Attributes:
        parameter: The whole tensor, as the optimizer has left it.
        state: The optimizer's state of it, after the step.
        at: Where its young part is.
        group: The options.
        step: The tensor's own number of updates, this one included.
        age: The entries' own numbers of updates, this one included; at least 1; broadcasts to the part.
        memory: What `grown` has made of what the family keeps, of the shape of `age`.
        before: The tensor right before the step, if that was asked for.
    """

    parameter: nn.Parameter
    state: Mapping[str, Any]
    at: tuple[slice | Tensor, ...]
    group: Options
    step: Tensor
    age: Tensor
    memory: Mapping[str, Tensor]
    before: Before | None

    def now(self, key: str) -> Tensor:
        """An entry of the optimizer's state, in the fine type."""
        return self.state[key][self.at].to(fine(self.parameter))

    @property
    def left(self) -> Tensor:
        """The parameter as the optimizer has left it, in the fine type."""
        return self.parameter.detach()[self.at].to(fine(self.parameter))

    def earlier(self, key: str) -> Tensor:
        """An entry of the optimizer's state as it was right before the step, in the fine type."""
        return self._before.state[key].to(fine(self.parameter))

    @property
    def value(self) -> Tensor:
        """The parameter right before the step, in the fine type."""
        return self._before.value.to(fine(self.parameter))

    def direction(self, *, weight_decay: float | Tensor) -> Tensor:
        """The gradient as the optimizer has used it: the sign of maximize, and coupled weight decay."""
        before = self._before
        # A hook may have put another gradient in place of the one that was seen; one that runs after the step may
        # have removed it. A fused optimizer under a gradient scaler has by now unscaled it, in place.
        there = None if before.copied else self.parameter.grad
        grad = (before.grad if there is None else there)[self.at].to(fine(self.parameter))
        grad = -grad if self.group.get("maximize", False) else grad
        return grad + weight_decay * self.value if weight_decay != 0 else grad

    @property
    def _before(self) -> Before:
        if self.before is None:
            raise AssertionError("this family declares that it needs the tensor before the step")
        return self.before


@dataclass(frozen=True, kw_only=True)
class Due:
    """What a step should have left in the young part.

    Attributes:
        value: The parameter; None where the optimizer's own step is right.
        state: Entries of the optimizer's state.
    """

    value: Tensor | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class Family:
    """Optimizers whose memory is elementwise, zero at first, and does not know the time: zeroing it is exact.

    The base of all families; each overrides what is different with it. A family has no state of its own.

    Attributes:
        zeroed: Entries of the optimizer's state that are zero in a fresh unit.
        others: Entries of the optimizer's state, besides, of which the family knows what becomes of them.
        kept: Entries of the optimizer's state that `due` must see as they were before the step.
        prepares: Whether entries that are about to make their first step must be prepared for it.
        only_counts: All that is kept once for a whole tensor is its count of updates, so that a tensor without
            old entries may count its own.
        counts: Whether the optimizer counts the updates of a tensor (``state["step"]``).
    """

    zeroed: ClassVar[tuple[str, ...]] = ()
    others: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[tuple[str, ...]] = ()
    prepares: ClassVar[bool] = False
    only_counts: ClassVar[bool] = False
    counts: ClassVar[bool] = True

    def check(self, name: str, parameter: nn.Parameter, optimizer: Optimizer) -> None:
        """Refuse a memory of which a fresh unit's value is not known.

        Args:
            name: The parameter's.
            parameter: The parameter.
            optimizer: The optimizer.

        Raises:
            OptimizerError: Somebody keeps more in the optimizer's state than its class, or an option couples units.
        """
        for group in optimizer.param_groups:
            if coupling(group) and any(each is parameter for each in group["params"]):
                raise OptimizerError(
                    f"the state of '{name}' in {type(optimizer).__name__} cannot be edited for one filter: "
                    f"{coupling(group)}. {LEAVE}"
                )
        found = memories(optimizer.state.get(parameter, {}), parameter)
        for key in sorted(set(map(str, found)) - {*self.zeroed, *self.others, SLOW}):
            raise OptimizerError(
                f"the state of '{name}' in {type(optimizer).__name__} has '{key}', which its class does not keep: what "
                f"a fresh filter would have there is not known. {LEAVE}"
            )

    def forget_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """Give the marked entries of all that is kept of a parameter what a fresh unit's would be.

        Args:
            parameter: The parameter, with its new values.
            state: The optimizer's state of it. Written at the mask.
            mask: True where a unit begins anew; broadcasts to the parameter.
            group: The options.
            defaults: The options that the optimizer was made with.
        """
        self.begin_(parameter, state, mask, group=group, defaults=defaults)
        begin_slow_(parameter, state, mask)

    def begin_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """The part of `forget_` that is the family's own.

        Args:
            parameter: The parameter.
            state: The optimizer's state of it. Written at the mask.
            mask: True where a unit begins anew.
            group: The options.
            defaults: The options that the optimizer was made with.
        """
        del parameter
        first = {**dict.fromkeys(self.zeroed, 0.0), **self.first(group, defaults)}
        for key, value in first.items():
            if isinstance(state.get(key), Tensor):
                state[key].masked_fill_(mask, float(value))

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """What a fresh unit has where that is not zero.

        Args:
            group: The options.
            defaults: The options that the optimizer was made with.

        Returns:
            By key of the optimizer's state; nothing here.
        """
        del group, defaults
        return {}

    def remembers(self, group: Options) -> bool:
        """Whether later steps of a renewed unit differ from those of its tensor.

        Args:
            group: The options.

        Returns:
            False here.
        """
        del group
        return False

    def needs_pre_step(self, group: Options) -> bool:
        """Whether something must be done or read right before a step.

        Args:
            group: The options.

        Returns:
            False here.
        """
        del group
        return False

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """Whether `due` wants the parameter and its gradient as they were right before the step.

        Args:
            group: The options.
            coarse: Whether the parameter has fewer digits than float32.

        Returns:
            Here: whether anything is needed then.
        """
        del coarse
        return self.needs_pre_step(group)

    def overwrites_grad(self, group: Options) -> bool:
        """Whether the optimizer writes into the gradient of a tensor while it steps.

        Args:
            group: The options.

        Returns:
            False here.
        """
        del group
        return False

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """What is kept of a young entry besides its birth, at its birth. Those born together share it.

        Args:
            state: The optimizer's state of the tensor.
            group: The options.

        Returns:
            Tensors without axes.
        """
        del state, group
        return {}

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """What a step makes of what is kept.

        Args:
            kept: By key, a number a birth.
            age: The births' ages, this step included.
            group: The options.

        Returns:
            As many numbers, by the same keys: what to go on with; and by others: what `due` needs besides.
        """
        del age, group
        return dict(kept)

    def prepare_(self, state: Mapping[str, Any], newborn: Tensor, *, group: Options) -> None:
        """Right before the first step of renewed entries.

        Args:
            state: The optimizer's state of their tensor. Written at `newborn`.
            newborn: True where the coming step is the first; broadcasts to the parameter.
            group: The options.
        """

    def due(self, made: Made) -> Due:
        """What the step should have left in young entries.

        Args:
            made: The step.

        Returns:
            Nothing, here: the optimizer's own step is right.
        """
        del made
        return Due()

    def horizon(self, group: Options) -> int | None:
        """The age at which a unit's steps are those of its tensor, up to rounding.

        Args:
            group: The options.

        Returns:
            A number of updates; None: never.
        """
        del group
        return 1


class Ageing(Family):
    """Optimizers of which a renewed unit must be seen right before its steps: all of them, or its first."""

    def remembers(self, group: Options) -> bool:
        """Always.

        Args:
            group: The options.

        Returns:
            True.
        """
        del group
        return True

    def needs_pre_step(self, group: Options) -> bool:
        """Always.

        Args:
            group: The options.

        Returns:
            True.
        """
        del group
        return True
