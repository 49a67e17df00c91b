"""How one family of optimizers treats a unit that begins anew.

The base of the files beside it; called by `surgery/edits` at a renewal and by `surgery/correction` around steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, cast

from torch import Tensor, nn
from torch.optim import Optimizer

from regrow.errors import OptimizerError
from regrow.surgery.optimizers.slow import SLOW
from regrow.surgery.optimizers.step import FORGOTTEN, Options, StepResult, YoungStep

LEAVE: Final = (
    "optimizer_state='kept' in the recipe (RandomOut(optimizer_state='kept')) leaves the optimizer's state of renewed "
    "filters as it is"
)
"""The way out that every optimizer has."""

_DEEP: Final = 4


class Family:
    """Optimizers whose state is elementwise, zero at first, and does not know the time: zeroing it is exact.

    The base of all families; each overrides what is different with it. A family has no state of its own.
    """

    # Entries of the optimizer's state that are zero in a fresh unit.
    zeroed: ClassVar[tuple[str, ...]] = ()
    # Entries of the optimizer's state, besides, of which the family knows what becomes of them.
    others: ClassVar[tuple[str, ...]] = ()
    # Entries of the optimizer's state that `result` must see as they were before the step.
    kept: ClassVar[tuple[str, ...]] = ()
    # Whether entries that are about to make their first step must be prepared for it.
    prepares: ClassVar[bool] = False
    # All that is kept once for a whole tensor is its count of updates, so that a tensor without old entries may
    # count its own.
    only_counts: ClassVar[bool] = False
    # Whether the optimizer counts the updates of a tensor (``state["step"]``).
    counts: ClassVar[bool] = True
    # Whether later steps of a renewed unit differ from those of its tensor, whatever the options.
    ages: ClassVar[bool] = False
    # What may be left, in the slowest average, of its having begun at zero, where a unit is as old as its tensor;
    # 0: the family has no averages that are corrected for that.
    rest: ClassVar[float] = 0.0
    settles: ClassVar[int | None] = 1  # the age then, instead; None: a unit never is

    def check(
        self, name: str, parameter: nn.Parameter, optimizer: Optimizer, *, group: Options
    ) -> None:
        """Refuse a state of which a fresh unit's value is not known.

        Edge cases:
            Somebody keeps more in the optimizer's state than its class, or an option of the group couples units: an
            OptimizerError.
        """
        coupled = coupling(group)
        if coupled:
            raise OptimizerError(
                f"the state of '{name}' in {type(optimizer).__name__} cannot be edited for one filter: "
                f"{coupled}. {LEAVE}"
            )
        found = state_of_entries(optimizer.state.get(parameter, {}), parameter)
        for key in sorted(set(map(str, found)) - {*self.zeroed, *self.others, SLOW}):
            raise OptimizerError(
                f"the state of '{name}' in {type(optimizer).__name__} has '{key}', which its class does not keep: what "
                f"a fresh filter would have there is not known. {LEAVE}"
            )

    def begin_(
        self,
        parameter: nn.Parameter,
        state: Mapping[str, Any],
        mask: Tensor,
        *,
        group: Options,
        defaults: Options,
    ) -> None:
        """Give the marked entries of all that is kept of a parameter what a fresh unit's would be."""
        first = {**dict.fromkeys(self.zeroed, 0.0), **self.first(group, defaults)}
        for key, value in first.items():
            if isinstance(state.get(key), Tensor):
                state[key].masked_fill_(mask, float(value))

    def first(self, group: Options, defaults: Options) -> Mapping[str, float | Tensor]:
        """What a fresh unit has where that is not zero."""
        return {}

    def knows_age(self, group: Options) -> bool:
        """Whether later steps of a renewed unit differ from those of its tensor."""
        return self.ages

    def needs_pre_step(self, group: Options) -> bool:
        """Whether something must be done or read right before a step."""
        return self.knows_age(group)

    def reads_before(self, group: Options, *, coarse: bool) -> bool:
        """Whether `result` wants the parameter and its gradient as they were right before the step."""
        return self.needs_pre_step(group)

    def overwrites_grad(self, group: Options) -> bool:
        """Whether the optimizer writes into the gradient of a tensor while it steps."""
        return False

    def newborn(self, state: Mapping[str, Any], group: Options) -> dict[str, Tensor]:
        """What is kept of a young entry besides its birth, at its birth. Those born together share it."""
        return {}

    def grown(
        self, kept: Mapping[str, Tensor], *, age: Tensor, group: Options
    ) -> dict[str, Tensor]:
        """What a step makes of what is kept."""
        return dict(kept)

    def prepare_(self, state: Mapping[str, Any], newborn: Tensor, *, group: Options) -> None:
        """Right before the first step of renewed entries."""

    def result(self, young: YoungStep) -> StepResult:
        """What the step should have left in young entries."""
        return StepResult()

    def horizon(self, group: Options) -> int | None:
        """The age at which a unit's steps are those of its tensor, up to rounding; None: never."""
        if not self.rest:
            return self.settles
        return updates_until(max(map(float, group["betas"])), below=self.rest)


def updates_until(beta: float, *, below: float = FORGOTTEN) -> int:
    """The number of updates after which beta^n is below a bound.

    Examples:
        >>> updates_until(0.5), updates_until(0.0)
        (30, 1)
    """
    return max(1, math.ceil(math.log(below) / math.log(beta))) if beta > 0 else 1


def options_by_parameter(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """The options by the identity of a parameter, looked up anew: loading a state replaces the groups."""
    found: dict[int, dict[str, Any]] = {}
    for group in optimizer.param_groups:
        found.update(dict.fromkeys(map(id, group["params"]), group))
    return found


def coupling(group: Mapping[str, Any]) -> str:
    """Why an option makes the step of one entry depend on others, or cannot be followed."""
    if group.get("caution", False):
        return "caution=True divides each step by the mean of a mask over the whole tensor"
    if group.get("clipping_threshold") is not None:
        return f"clipping_threshold={group['clipping_threshold']} divides each step by a norm over the whole tensor"
    if group.get("corrected_weight_decay", False) and "max_lr_snapshot" not in group:
        return "corrected_weight_decay=True needs the largest learning rate, which this version keeps in no group"
    return ""


def tensors_held_by(value: object, *, deep: int = _DEEP) -> Iterator[Tensor]:
    """The tensors in a value, also in containers and in the attributes of objects.

    Examples:
        >>> import torch
        >>> [t.tolist() for t in tensors_held_by({"Q": [torch.zeros(1), (torch.ones(2), "name")]})]
        [[0.0], [1.0, 1.0]]
    """
    if isinstance(value, Tensor):
        yield value
        return
    if deep == 0 or isinstance(value, (str, bytes, type, nn.Module)) or callable(value):
        return
    inside: Iterable[Any]
    if isinstance(value, Mapping):
        inside = cast("Mapping[Any, Any]", value).values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = cast("Iterable[Any]", value)
    else:
        inside = getattr(value, "__dict__", {}).values()
    for each in inside:
        yield from tensors_held_by(each, deep=deep - 1)


def state_of_entries(state: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """What an optimizer keeps of a parameter that is more than one number for the whole tensor."""
    found: dict[str, Any] = {}
    for key, value in state.items():
        held = [value] if isinstance(value, Tensor) else list(tensors_held_by(value))
        for each in held:
            one = each.numel() <= 1 and not (each.dim() and each.shape == parameter.shape)
            if key != "step" and not one:
                found[key] = value
    return found
